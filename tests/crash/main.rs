//! Processes killed and disks full, under load: whatever was acknowledged is there afterwards, at the place it was
//! acknowledged with, queues have no holes, and consumers go on where they were.
//!
//! `CRASH_KILLS` (default 20) is the number of kills in the longest test, `CRASH_SEED` varies their moments.

mod full_disk;
mod kills;
