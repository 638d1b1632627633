//! `docs/records.md` shows the mappings as the tables of the code have them.

use s3sweep::encode::cef::{self, Row};
use s3sweep::encode::interflow;
use s3sweep::record::LogType;

const PAGE: &str = include_str!("../../docs/records.md");

/// The lines of the section `### title` below `## chapter`.
fn section(chapter: &str, title: &str) -> Vec<&'static str> {
    let from = |lines: Vec<&'static str>, heading: String, end: &str| -> Vec<&'static str> {
        let at = lines.iter().position(|line| *line == heading).expect("the heading is there");
        let rest = lines[at + 1..].iter();
        rest.take_while(|line| !line.starts_with(end)).copied().collect()
    };
    let chapter = from(PAGE.lines().collect(), format!("## {chapter}"), "## ");
    from(chapter, format!("### {title}"), "### ")
}

fn title(log_type: LogType) -> &'static str {
    match log_type {
        LogType::CloudTrail => "CloudTrail",
        LogType::VpcFlow => "VPC flow logs",
        LogType::Waf => "WAF",
        LogType::Jsonl => "JSON lines",
    }
}

/// A row of the code as a row of the page.
fn shown(row: &Row, paths: &[&str]) -> String {
    let label = row.label.map(|label| format!(" ({label})")).unwrap_or_default();
    let longest = if row.limit == 0 { String::new() } else { row.limit.to_string() };
    let from: Vec<_> = row.from.iter().map(|field| format!("`{}`", paths[usize::from(field.0)])).collect();
    format!("| {} | `{}`{label} | {longest} | {} |", row.name, row.key, from.join(", "))
}

#[test]
fn cef_keys_are_those_of_the_code() {
    for log_type in LogType::ALL {
        let Some(mapping) = cef::mapping(log_type) else { continue };
        let page: Vec<_> =
            section("CEF", title(log_type)).into_iter().filter(|line| line.starts_with('|')).collect();
        let code: Vec<_> = mapping.rows.iter().map(|row| shown(row, log_type.paths())).collect();
        assert_eq!(page[2..].join("\n"), code.join("\n"), "{log_type:?}");
    }
}

#[test]
fn interflow_fields_are_those_of_the_code() {
    for log_type in LogType::ALL {
        let members = interflow::members(log_type);
        let rows = section("Interflow", title(log_type)).into_iter().filter(|line| line.starts_with("| `"));
        let page: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(page, members, "{log_type:?}");
    }
}
