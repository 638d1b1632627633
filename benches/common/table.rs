//! Tables as Markdown writes them, to be copied into docs/performance.md.

/// Rows of text under a heading.
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// An empty table with these column names.
    pub fn new(columns: &[&str]) -> Self {
        Table(vec![columns.iter().map(|name| (*name).to_owned()).collect()])
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    /// Prints all rows to stdout, columns aligned.
    pub fn print(&self) {
        let columns = self.0[0].len();
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (number, row) in self.0.iter().enumerate() {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            println!("| {} |", cells.join(" | "));
            if number == 0 {
                let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                println!("| {} |", rules.join(" | "));
            }
        }
    }
}

/// The median; of an even number of values the mean of the middle two, of none 0.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
