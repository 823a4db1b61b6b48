//! What a backend around a backend passes on as it is.

/// The operations on names, passed on to the backend in a field.
macro_rules! forward_names {
    ($inner:tt) => {
        fn create_dir_all(&self, path: &std::path::Path) -> esker::backend::IoFuture<()> {
            self.$inner.create_dir_all(path)
        }

        fn list(&self, dir: &std::path::Path) -> esker::backend::IoFuture<Vec<esker::backend::DirEntry>> {
            self.$inner.list(dir)
        }

        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> esker::backend::IoFuture<()> {
            self.$inner.rename(from, to)
        }

        fn remove(&self, path: &std::path::Path) -> esker::backend::IoFuture<()> {
            self.$inner.remove(path)
        }

        fn sync_dir(&self, dir: &std::path::Path) -> esker::backend::IoFuture<()> {
            self.$inner.sync_dir(dir)
        }
    };
}

/// The operations on a file other than `read_at` and `write_at`, passed on to the file in a field.
macro_rules! forward_file {
    ($inner:tt) => {
        fn read_now(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
            self.$inner.read_now(offset, buf)
        }

        fn sync_data(&self) -> esker::backend::IoFuture<()> {
            self.$inner.sync_data()
        }

        fn allocate(&self, len: u64) -> esker::backend::IoFuture<()> {
            self.$inner.allocate(len)
        }

        fn len(&self) -> esker::backend::IoFuture<u64> {
            self.$inner.len()
        }

        fn try_lock(&self) -> std::io::Result<bool> {
            self.$inner.try_lock()
        }
    };
}

pub(crate) use {forward_file, forward_names};
