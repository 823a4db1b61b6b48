//! Who goes on: the dice of a schedule decide at every step.
//!
//! A third of the schedules draw evenly among the tasks that can run; a third tend to stay with the one that runs; and a
//! third give the tasks ranks, let the highest run, and lower it at a few drawn steps, which finds orders that need few
//! but exact changes (probabilistic concurrency testing). Time moves when nothing else can run, and now and then before.

use esker::sync::time;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

use crate::tally::Cases;
use crate::values::Dice;

/// Once in so many steps a timer that is due soon fires though others could run.
const EARLY_TIMER: u64 = 60;
/// Once in so many steps one that tends to stay gives way.
const GIVE_WAY: u64 = 12;
/// Most changes of rank in a schedule.
const MOST_CHANGES: u64 = 4;

#[derive(Debug)]
enum Manner {
    Evenly,
    Staying,
    Ranked { ranks: Vec<u64>, changes: Vec<u64>, lowest: u64 },
}

/// Draws the schedules of one scenario, as many as `cases` gives out.
#[derive(Debug)]
pub struct Chooser {
    cases: Cases,
    dice: Dice,
    manner: Manner,
    step: u64,
    /// About as many steps as a schedule takes: changes of rank are drawn from these.
    usual: u64,
}

impl Chooser {
    /// Of these cases, of `usual` steps each.
    pub fn new(cases: Cases, usual: u64) -> Self {
        Self { cases, dice: Dice::new(0), manner: Manner::Evenly, step: 0, usual }
    }

    fn lower(&mut self, task: Option<TaskId>) {
        if let (Manner::Ranked { ranks, lowest, .. }, Some(task)) = (&mut self.manner, task)
            && let Some(rank) = ranks.get_mut(usize::from(task))
        {
            *lowest -= 1;
            *rank = *lowest;
        }
    }

    fn choose(&mut self, tasks: &[TaskId], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let dice = &mut self.dice;
        match &mut self.manner {
            Manner::Evenly => {}
            Manner::Staying => {
                if let Some(stays) = current.filter(|c| !is_yielding && tasks.contains(c) && !dice.one_in(GIVE_WAY)) {
                    return Some(stays);
                }
            }
            Manner::Ranked { ranks, .. } => {
                let most = tasks.iter().map(|t| usize::from(*t) + 1).max().unwrap_or(0);
                while ranks.len() < most {
                    ranks.push((1 << 32) + dice.below(1 << 32));
                }
                return tasks.iter().copied().max_by_key(|task| ranks[usize::from(*task)]);
            }
        }
        usize::try_from(dice.below(tasks.len() as u64)).ok().and_then(|n| tasks.get(n).copied())
    }
}

impl Scheduler for Chooser {
    fn new_execution(&mut self) -> Option<Schedule> {
        let (number, seed) = self.cases.next()?;
        self.dice = Dice::new(seed);
        self.cases.took(std::mem::take(&mut self.step));
        self.manner = match number % 3 {
            0 => Manner::Evenly,
            1 => Manner::Staying,
            _ => {
                let changes = (0..self.dice.below(MOST_CHANGES + 1)).map(|_| self.dice.below(self.usual)).collect();
                Manner::Ranked { ranks: Vec::new(), changes, lowest: 1 << 32 }
            }
        };
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        self.step += 1;
        let step = self.step;
        if is_yielding || matches!(&self.manner, Manner::Ranked { changes, .. } if changes.contains(&step)) {
            self.lower(current);
        }
        let mut tasks: Vec<TaskId> = runnable.iter().map(|task| task.id()).collect();
        if let Some((mover, is_soon)) = time::mover()
            && tasks.len() > 1
        {
            let is_there = tasks.contains(&mover);
            tasks.retain(|task| *task != mover);
            if is_there && is_soon && self.dice.one_in(EARLY_TIMER) {
                return Some(mover);
            }
        }
        self.choose(&tasks, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.dice.next()
    }
}

impl Drop for Chooser {
    fn drop(&mut self) {
        self.cases.took(self.step);
    }
}
