//! What a slave has taken over of its master's tables: asked for as a whole, or change by change out of the log. The
//! two must not overtake each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::metadata::Change;

/// Counters of what was taken over.
#[derive(Debug, Default)]
pub struct Applied {
    /// Changes in records before this physical offset are in the tables already.
    in_tables_to: AtomicU64,
    topics: AtomicU64,
    groups: AtomicU64,
    offsets: AtomicU64,
    unknown_told: AtomicBool,
}

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Topics.
    Topics,
    /// Subscription groups.
    Groups,
    /// Consumer offsets.
    Offsets,
}

impl Applied {
    /// The tables have been taken over as they were when the master's log ended at `end`, or later.
    pub fn tables_reach(&self, end: u64) {
        self.in_tables_to.store(end, Ordering::SeqCst);
    }

    /// Says whether the record at an offset tells nothing that is not in the tables. It is passed over then: an old log
    /// would make the tables old for a while.
    pub fn is_in_tables(&self, physical: u64) -> bool {
        physical < self.in_tables_to.load(Ordering::SeqCst)
    }

    /// A change out of the log is taken over.
    pub fn count(&self, change: &Change) {
        match change {
            Change::PutTopic(_) => self.add(&[Table::Topics]),
            // Its offsets go with it.
            Change::DeleteTopic { .. } => self.add(&[Table::Topics, Table::Offsets]),
            Change::PutGroup(_) => self.add(&[Table::Groups]),
            Change::DeleteGroup { .. } => self.add(&[Table::Groups, Table::Offsets]),
            Change::Offsets { .. } => self.add(&[Table::Offsets]),
        }
    }

    fn add(&self, tables: &[Table]) {
        tables.iter().for_each(|table| _ = self.counter(*table).fetch_add(1, Ordering::SeqCst));
    }

    /// Returns how many changes of a table were taken over out of the log. A table that was asked for before the last
    /// of them is too old.
    pub fn changes(&self, table: Table) -> u64 {
        self.counter(table).load(Ordering::SeqCst)
    }

    fn counter(&self, table: Table) -> &AtomicU64 {
        match table {
            Table::Topics => &self.topics,
            Table::Groups => &self.groups,
            Table::Offsets => &self.offsets,
        }
    }

    /// Says, once, that something was not understood for the first time.
    pub fn is_first_unknown(&self) -> bool {
        !self.unknown_told.swap(true, Ordering::SeqCst)
    }
}
