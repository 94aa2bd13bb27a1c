//! A table for people, without lines.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

/// Makes one; from the given column on numbers, aligned to the right.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= first_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
