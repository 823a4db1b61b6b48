//! What every backend must do, written once and run on each: the contract of `esker::backend` as tests.

mod concurrency;
mod contents;
mod locks;
mod names;
mod support;
mod system;

/// One `#[test]` for each check, on the backend that `make` of the surrounding module gives.
macro_rules! checks {
    ($($area:ident: $($check:ident),+;)+) => {
        $($(#[test]
        fn $check() {
            crate::support::run(make, |fixture| Box::pin(crate::$area::$check(fixture)));
        })+)+
    };
}

/// The contract: for every backend, the simulated one too.
macro_rules! contract {
    () => {
        checks! {
            contents: an_empty_file_reads_empty, what_is_written_is_read, a_read_at_the_end_is_short,
                a_read_beyond_the_end_is_empty, a_read_of_nothing_is_empty, an_unaligned_write_lands,
                direct_writes_land, a_hole_reads_as_zeros, the_last_write_is_read, allocate_sets_the_length,
                read_now_agrees_with_read_at, an_absurd_offset_is_an_error, an_absurd_length_is_an_error_or_short,
                a_window_of_a_buffer_is_written;
            concurrency: many_reads_at_once, many_writes_at_once, dropped_reads_harm_nobody,
                a_dropped_write_still_lands, the_backend_may_go_first, the_file_may_go_first,
                one_thread_is_enough, a_future_may_move_to_another_runtime;
            names: create_new_refuses_what_exists, what_is_missing_is_not_found, a_rename_replaces,
                a_removed_file_is_gone, list_names_everything_once, directories_may_be_made_twice,
                sync_dir_works_on_directories_only, an_open_file_survives_its_name;
            locks: one_lock_at_a_time, a_lock_ends_with_its_file, a_file_to_read_is_not_written;
        }
    };
}

/// What only an operating system has: modes, links, descriptors.
macro_rules! contract_with_a_system {
    () => {
        contract!();
        #[cfg(unix)]
        checks! {
            system: links_are_not_followed, modes_are_private, errors_keep_their_errno, descriptors_do_not_leak,
                a_refused_creation_leaves_nothing_locked;
        }
    };
}

// A backend joins with one module: a `make` and its contract. The simulated disk takes `contract!()`.

mod tokio_fs {
    fn make() -> std::io::Result<std::sync::Arc<dyn esker::backend::Backend>> {
        Ok(std::sync::Arc::new(esker::backend::tokio_fs::TokioFs))
    }
    contract_with_a_system!();
}

#[cfg(has_uring)]
mod uring {
    fn make() -> std::io::Result<std::sync::Arc<dyn esker::backend::Backend>> {
        Ok(std::sync::Arc::new(esker::backend::uring::Uring::new()?))
    }
    contract_with_a_system!();
}

#[cfg(has_uring)]
mod uring_of_three_threads {
    fn make() -> std::io::Result<std::sync::Arc<dyn esker::backend::Backend>> {
        Ok(std::sync::Arc::new(esker::backend::uring::Uring::with_threads(3)?))
    }
    contract_with_a_system!();
}

mod sim {
    fn make() -> std::io::Result<std::sync::Arc<dyn esker::backend::Backend>> {
        Ok(std::sync::Arc::new(esker::backend::sim::Sim::new(1)))
    }
    contract!();
}

mod sim_with_delays {
    use esker::backend::sim::{FaultPlan, ReadNow, Sim};

    fn make() -> std::io::Result<std::sync::Arc<dyn esker::backend::Backend>> {
        let sim = Sim::new(2);
        sim.set_faults(FaultPlan {
            max_yields: 5,
            read_now: ReadNow::ServeWithProbability(0.5),
            ..FaultPlan::default()
        });
        Ok(std::sync::Arc::new(sim))
    }
    contract!();
}

#[cfg(has_tokio_uring)]
mod tokio_uring {
    fn make() -> std::io::Result<std::sync::Arc<dyn esker::backend::Backend>> {
        Ok(std::sync::Arc::new(esker::backend::tokio_uring::TokioUring::new()?))
    }
    contract_with_a_system!();
}
