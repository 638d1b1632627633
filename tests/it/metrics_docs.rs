//! docs/operate.md has every metric: the table is written from the code, and compared with it.

use std::path::Path;

use s3sweep::metrics::{self, Kind};

use crate::needs::variable;

const PAGE: &str = "docs/operate.md";
const BEGIN: &str =
    "<!-- the table is written by: S3SWEEP_TESTS_WRITE=1 cargo test --test it metrics_docs:: -->\n\n";

fn table() -> String {
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in metrics::ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        table += &format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.meaning);
    }
    table
}

#[test]
fn the_table_of_metrics_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} has the line {BEGIN}"));
    let (written, after) = rest.split_once("\n\n").unwrap();
    let table = table();
    if variable::<u8>("S3SWEEP_TESTS_WRITE").is_some() {
        return std::fs::write(path, format!("{before}{BEGIN}{table}\n{after}")).unwrap();
    }
    assert!(
        format!("{written}\n") == table,
        "{PAGE} is out of date; S3SWEEP_TESTS_WRITE=1 cargo test --test it metrics_docs::"
    );
}
