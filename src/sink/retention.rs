//! Which finished segments are deleted when the reader does not do it.
//!
//! Only segments of this sink's id count and go; the newest one always stays, so that no setting
//! deletes a segment in the moment it is finished.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::segment::{Contents, Form, SegmentFile};

/// The limits of the settings `keep_age` and `keep_size`; `None` leaves segments to the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keep {
    /// Finished segments last written longer ago than this go.
    pub age: Option<Duration>,
    /// The oldest finished segments beyond this total in bytes go.
    pub size: Option<u64>,
}

/// The finished segments of `sink_id` that `keep` lets go at `now`, oldest first.
pub(super) fn expired<'a>(
    contents: &'a Contents,
    sink_id: &'a str,
    keep: Keep,
    now: SystemTime,
) -> Vec<&'a SegmentFile> {
    let mut finished: Vec<&SegmentFile> =
        contents.of(sink_id).filter(|segment| segment.name.form != Form::Open).collect();
    finished.sort_by_key(|segment| segment.name.sequence);
    let Some(newest) = finished.pop() else { return Vec::new() };
    let mut total = newest.length;
    let mut going = Vec::new();
    // from the newest backwards: once the total is passed, all older ones go
    for segment in finished.into_iter().rev() {
        total = total.saturating_add(segment.length);
        let too_much = keep.size.is_some_and(|size| total > size);
        let too_old = keep.age.is_some_and(|age| is_older(segment, age, now));
        if too_much || too_old {
            going.push(segment);
        }
    }
    going.reverse();
    going
}

fn is_older(segment: &SegmentFile, age: Duration, now: SystemTime) -> bool {
    // a time in the future counts as young
    segment.modified.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|old| old > age)
}

/// Deletes the segments that `keep` lets go. A file that cannot be deleted is logged and stays:
/// it stops no record.
pub(super) fn enforce(folder: &Path, sink_id: &str, keep: Keep, now: SystemTime) {
    if keep == Keep::default() {
        return;
    }
    let contents = match Contents::read(folder) {
        Ok(contents) => contents,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot look for finished segments to delete");
            return;
        }
    };
    for segment in expired(&contents, sink_id, keep, now) {
        let path = folder.join(segment.name.to_string());
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::debug!(path = %path.display(), "deleted a finished segment"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot delete a finished segment");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::SegmentName;
    use super::*;

    const NOW: u64 = 10_000;

    fn contents() -> Contents {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let file = |sink_id, sequence, form, written| SegmentFile {
            name: SegmentName::new(sink_id, sequence, form),
            length: 100,
            modified: at(written),
        };
        Contents {
            segments: vec![
                file("aaaaaaaa", 1, Form::Plain, 1_000),
                file("aaaaaaaa", 2, Form::Gzip, 5_000),
                file("aaaaaaaa", 3, Form::Zstd, 9_000),
                file("aaaaaaaa", 4, Form::Plain, 20_000),
                file("aaaaaaaa", 5, Form::Open, 0),
                file("bbbbbbbb", 1, Form::Plain, 0),
            ],
            ..Contents::default()
        }
    }

    #[test]
    fn what_goes_and_what_stays() {
        let age = |seconds| Keep { age: Some(Duration::from_secs(seconds)), size: None };
        let size = |bytes| Keep { age: None, size: Some(bytes) };
        let both = Keep { age: Some(Duration::from_secs(6_000)), size: Some(250) };
        let cases: [(&str, Keep, &[u64]); 10] = [
            ("no limits", Keep::default(), &[]),
            ("age takes the older ones", age(2_000), &[1, 2]),
            ("exactly the age stays", age(5_000), &[1]),
            ("age zero leaves the newest", age(0), &[1, 2, 3]),
            ("size below the total", size(250), &[1, 2]),
            ("size exactly two", size(200), &[1, 2]),
            ("size exactly all", size(400), &[]),
            ("size zero leaves the newest", size(0), &[1, 2, 3]),
            ("either limit is enough", both, &[1, 2]),
            ("a year", age(365 * 86_400), &[]),
        ];
        let contents = contents();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        for (case, keep, expected) in cases {
            let going: Vec<u64> =
                expired(&contents, "aaaaaaaa", keep, now).iter().map(|file| file.name.sequence).collect();
            assert_eq!(going, expected, "{case}");
        }
        assert!(expired(&contents, "cccccccc", size(0), now).is_empty(), "a sink with no segments");
    }

    #[test]
    fn only_this_sinks_files_are_deleted() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let names: Vec<String> = contents().segments.iter().map(|file| file.name.to_string()).collect();
        for name in &names {
            std::fs::write(folder.path().join(name), "x").expect("write");
        }
        enforce(folder.path(), "aaaaaaaa", Keep { age: None, size: Some(1) }, SystemTime::UNIX_EPOCH);
        let left: Vec<bool> = names.iter().map(|name| folder.path().join(name).exists()).collect();
        assert_eq!(left, [false, false, false, true, true, true]);
    }
}
