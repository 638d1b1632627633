//! What lies on this machine: the configuration's warnings, state directory, sink, free space.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::source::counted;
use super::{Fault, Line, Status};
use crate::config::{Config, SinkType};

/// With less free space than this the state may not be able to grow.
const STATE_SPACE: u64 = 64 << 20;

/// The lines about this instance.
pub(super) fn lines(config: &Config) -> Vec<Line> {
    let files: Vec<_> = config.files.iter().map(|path| path.display().to_string()).collect();
    let sources = counted(config.sources.len() as u64, "source", "sources");
    let read = format!("{sources} in {}", files.join(", "));
    let mut lines = vec![Line::new("configuration", Status::Ok, Fault::Configuration, read)];
    for warning in &config.warnings {
        lines.push(Line::new("configuration", Status::Warning, Fault::Configuration, warning));
    }
    lines.push(writable("state", &config.state_dir, Fault::State));
    lines.push(space("state", &config.state_dir, STATE_SPACE, Status::Warning, Fault::State));
    match (config.sink.sink_type, &config.sink.path) {
        (SinkType::File, Some(path)) => {
            lines.push(writable("sink", path, Fault::Sink));
            lines.push(space("sink", path, config.sink.min_free, Status::Failed, Fault::Sink));
        }
        _ => lines.push(Line::new("sink", Status::Ok, Fault::Sink, "records go to stdout")),
    }
    if let Some(folder) = config.sink.dead_letter_path.parent().filter(|folder| **folder != config.state_dir)
    {
        lines.push(writable("dead-letter", folder, Fault::Sink));
    }
    lines
}

/// Whether files can be made in a folder, or the folder itself where it is not there yet.
fn writable(check: &'static str, folder: &Path, fault: Fault) -> Line {
    let shown = folder.display();
    let failed = |detail: String| Line::new(check, Status::Failed, fault, detail);
    let Some(there) = nearest(folder) else {
        return failed(format!("nothing of {shown} is there")).next("Correct the path.");
    };
    if !there.is_dir() {
        let detail = format!("{} is no folder", there.display());
        return failed(detail).next("Correct the path, or remove what stands in its place.");
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if there == folder => Line::new(check, Status::Ok, fault, format!("{shown} can be written")),
        Ok(()) => Line::new(check, Status::Ok, fault, format!("{shown} can be made")),
        Err(error) => failed(format!("{} cannot be written: {error}", there.display())).next(format!(
            "Run s3sweep as a user who may write there, or: install -d -o USER {shown}; on a read-only file \
             system choose another path."
        )),
    }
}

/// Whether enough space is left where a folder lies.
fn space(check: &'static str, folder: &Path, least: u64, bad: Status, fault: Fault) -> Line {
    let Some(there) = nearest(folder) else {
        return Line::new(
            check,
            Status::Warning,
            fault,
            format!("free space of {} is unknown", folder.display()),
        );
    };
    match statvfs(there) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let status = if free < least { bad } else { Status::Ok };
            let line =
                Line::new(check, status, fault, format!("{} MiB free at {}", free >> 20, folder.display()));
            match status {
                Status::Ok => line,
                _ => line.next(format!("Free space there until {} MiB are left.", least.div_ceil(1 << 20))),
            }
        }
        Err(error) => {
            let detail = format!("free space of {} is unknown: {error}", folder.display());
            Line::new(check, Status::Warning, fault, detail)
        }
    }
}

/// The folder itself, or the nearest above it that is there.
fn nearest(folder: &Path) -> Option<&Path> {
    let above =
        folder.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    above.into_iter().find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_looked_at_and_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        for (case, path, want, fragment) in [
            ("there", folder.path().to_owned(), Status::Ok, "can be written"),
            ("not yet", folder.path().join("a/b"), Status::Ok, "can be made"),
            ("a file in its place", file.clone(), Status::Failed, "is no folder"),
            ("a file above", file.join("x"), Status::Failed, "is no folder"),
            ("no place for files", "/proc/s3sweep".into(), Status::Failed, ""),
        ] {
            // root may write anywhere but where there is nothing to write
            if case == "no place for files" && access("/proc", Access::WRITE_OK).is_ok() {
                continue;
            }
            let line = writable("state", &path, Fault::State);
            assert_eq!(line.status, want, "{case}: {line:?}");
            assert!(line.detail.contains(fragment), "{case}: {line:?}");
            assert_eq!(line.next.is_some(), want == Status::Failed, "{case}");
        }
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn a_full_disk_is_told_before_it_stops_the_sink() {
        let folder = tempfile::tempdir().expect("a folder");
        let line = |least| space("sink", folder.path(), least, Status::Failed, Fault::Sink);
        assert_eq!(line(0).status, Status::Ok);
        let full = line(u64::MAX);
        assert_eq!((full.status, full.fault), (Status::Failed, Fault::Sink));
        assert!(full.next.is_some_and(|next| next.contains("Free space")));
    }
}
