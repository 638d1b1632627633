//! Log type × pattern → completed pattern. Pure.
//!
//! AWS writes each log type below a fixed path: `AWSLogs/`, the organisation where there is
//! one, the account, the service's folder, the region (for WAF then the web ACL), the date. A
//! pattern that ends just before the date gets `/{YYYY}/{mm}/{dd}`; hours and minutes lie below
//! the day and are no prefixes of their own.

use crate::pattern::{PrefixPattern, Segment, Step, Token, Variable, Wild, is_org_id};
use crate::record::LogType;

/// Where AWS puts the files of a log type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `…/<account>/CloudTrail/<region>/YYYY/mm/dd/`, also of an organisation's trail and of
    /// Control Tower, and of the folders beside `CloudTrail` with other kinds of events.
    CloudTrail,
    /// `…/<account>/vpcflowlogs/<region>/YYYY/mm/dd/` and the Hive form
    /// `aws-account-id=…/aws-service=vpcflowlogs/aws-region=…/year=YYYY/month=mm/day=dd/`.
    VpcFlow,
    /// `…/<account>/WAFLogs/<region or cloudfront>/<web ACL>/YYYY/mm/dd/`, as WAF writes it
    /// itself. Firehose writes below any prefix, by default `YYYY/mm/dd/HH/`, so that a pattern
    /// tells the dates.
    Waf,
}

impl Layout {
    /// Whether the keys of a prefix rise with the time they were written. CloudTrail's file
    /// names have the minute of delivery right after what all files of a prefix have in
    /// common. Those of VPC flow logs have the id of the flow log before it, and for WAF
    /// nobody promises an order.
    pub fn keys_rise_with_time(self) -> bool {
        match self {
            Layout::CloudTrail => true,
            Layout::VpcFlow | Layout::Waf => false,
        }
    }
}

/// What became of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The pattern, with the date path when `completed`. Its time zone is kept; the dates in
    /// AWS's own paths are UTC.
    pub pattern: PrefixPattern,
    /// The layout that the pattern follows, when it follows one down to its dates.
    pub layout: Option<Layout>,
    /// Whether the date path was added.
    pub completed: bool,
}

/// Completes a pattern that ends just before the date path of its log type's layout, and
/// recognises one that has the date path already. Any other pattern comes back as it is.
///
/// ```
/// use s3sweep::layout::complete;
/// use s3sweep::pattern::PrefixPattern;
/// use s3sweep::record::LogType;
///
/// let pattern = PrefixPattern::parse("AWSLogs/*/CloudTrail/us-*").unwrap();
/// let completed = complete(LogType::CloudTrail, pattern);
/// assert_eq!(completed.pattern.to_string(), "AWSLogs/*/CloudTrail/us-*/{YYYY}/{mm}/{dd}");
/// ```
pub fn complete(log_type: LogType, pattern: PrefixPattern) -> Completed {
    let segments = pattern.segments();
    let layout = match log_type {
        LogType::CloudTrail => Some(Layout::CloudTrail),
        LogType::VpcFlow => Some(Layout::VpcFlow),
        LogType::Waf => Some(Layout::Waf),
        LogType::Jsonl => None,
    };
    let found = layout.and_then(|layout| {
        let forms = FORMS.iter().filter(|form| form.layout == layout);
        forms
            .flat_map(|form| base_ends(form, segments).map(move |end| (form, end)))
            .find(|(form, end)| segments.len() == *end || has_dates(form, &segments[*end..]))
    });
    let Some((form, end)) = found else {
        return Completed { pattern, layout: None, completed: false };
    };
    let completed = end == segments.len();
    let pattern = if completed {
        let whole = segments.iter().cloned().chain((0..3).map(|unit| form.date(unit))).collect();
        PrefixPattern::from_segments(whole).in_timezone(pattern.timezone())
    } else {
        pattern
    };
    Completed { pattern, layout: Some(form.layout), completed }
}

/// One form of a layout: what the segments from the account to the date look like.
struct Form {
    layout: Layout,
    base: &'static [Place],
    /// What stands before the year, month, day, hour and minute, as far as the form goes.
    dates: &'static [&'static str],
}

/// What a segment of the base holds, with the literal text before it.
enum Place {
    Account(&'static str),
    /// The service's folder: one of these words.
    Folder(&'static [&'static str]),
    Region(&'static str),
    /// Any name.
    Name,
}

/// CloudTrail's folders with events. `CloudTrail-Digest` and `CloudTrail-Lake` have none.
const TRAIL_FOLDERS: &[&str] =
    &["CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity", "CloudTrail-Aggregated"];

const FORMS: &[Form] = &[
    Form {
        layout: Layout::CloudTrail,
        base: &[Place::Account(""), Place::Folder(TRAIL_FOLDERS), Place::Region("")],
        dates: &["", "", ""],
    },
    Form {
        layout: Layout::VpcFlow,
        base: &[Place::Account(""), Place::Folder(&["vpcflowlogs"]), Place::Region("")],
        dates: &["", "", "", ""],
    },
    Form {
        layout: Layout::VpcFlow,
        base: &[
            Place::Account("aws-account-id="),
            Place::Folder(&["aws-service=vpcflowlogs"]),
            Place::Region("aws-region="),
        ],
        dates: &["year=", "month=", "day=", "hour="],
    },
    Form {
        layout: Layout::Waf,
        base: &[Place::Account(""), Place::Folder(&["WAFLogs"]), Place::Region(""), Place::Name],
        dates: &["", "", "", "", ""],
    },
];

impl Form {
    /// The date segment of a unit.
    fn date(&self, unit: usize) -> Segment {
        let text = (!self.dates[unit].is_empty()).then(|| Token::Text(self.dates[unit].to_owned()));
        let date = Token::Date(Variable { unit: Step::ALL[unit], padded: true });
        text.into_iter().chain([date]).collect()
    }
}

/// The ends of the bases of a form in a pattern: the segments right of their regions.
fn base_ends<'s>(form: &'s Form, segments: &'s [Segment]) -> impl Iterator<Item = usize> + 's {
    let roots = (0..segments.len())
        .filter(|at| matches!(&segments[*at][..], [Token::Text(text)] if text == "AWSLogs"));
    roots.flat_map(move |root| {
        let org = segments.get(root + 1).is_some_and(|segment| may_be_org(segment));
        [Some(root + 1), org.then_some(root + 2)].into_iter().flatten().filter_map(move |start| {
            let end = start + form.base.len();
            let base = segments.get(start..end)?;
            let dateless = segments[..end].iter().flatten().all(|token| !matches!(token, Token::Date(_)));
            let fits = form.base.iter().zip(base).all(|(place, segment)| place.takes(segment));
            (dateless && fits).then_some(end)
        })
    })
}

fn may_be_org(segment: &[Token]) -> bool {
    match segment {
        [Token::Text(text)] => is_org_id(text),
        [Token::Wild(Wild::Org | Wild::Segment)] => true,
        _ => false,
    }
}

impl Place {
    fn takes(&self, segment: &[Token]) -> bool {
        match self {
            Place::Account(before) => value(segment, before, |text| {
                text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
            }),
            Place::Region(before) => value(segment, before, is_region),
            Place::Folder(words) => match segment {
                [Token::Text(text)] => words.contains(&text.as_str()),
                // `CloudTrail*`: the word must stand there, the rest may be open.
                [Token::Text(text), Token::Wild(Wild::Part), ..] => text.starts_with(words[0]),
                _ => false,
            },
            Place::Name => !segment.is_empty(),
        }
    }
}

/// Whether a segment is `before` and then a fitting text or one with wildcards.
fn value(segment: &[Token], before: &str, fits: impl Fn(&str) -> bool) -> bool {
    match segment {
        [Token::Text(text)] => text.strip_prefix(before).is_some_and(fits),
        [Token::Wild(Wild::Segment | Wild::Account), ..] => true,
        [Token::Text(text), ..] => text.starts_with(before),
        [Token::Wild(Wild::Part), ..] => before.is_empty(),
        _ => false,
    }
}

/// Whether a text is a whole region name, like `us-gov-west-1`, or the `cloudfront` of WAF. A
/// part of a name (`us-`) is a string prefix, to which no date can be added.
fn is_region(text: &str) -> bool {
    let mut words = text.split('-');
    let number = words
        .next_back()
        .is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    let letters = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    text == "cloudfront" || (number && words.clone().count() > 1 && words.all(letters))
}

/// Whether segments begin with the form's dates, in order, and have no other date units.
fn has_dates(form: &Form, segments: &[Segment]) -> bool {
    let units =
        (0..form.dates.len()).take_while(|unit| segments.get(*unit) == Some(&form.date(*unit))).count();
    let known = |token: &Token| match token {
        Token::Date(variable) => Step::ALL[..units].contains(&variable.unit),
        Token::Text(_) | Token::Wild(_) => true,
    };
    units > 0 && segments[units..].iter().flatten().all(known)
}

/// Whether a key of a log type holds no records by its place or name: digests, query results, and
/// the probe that AWS Config leaves (CloudTrail user guide, "Finding your log files"). A digest's
/// name tells it too where a copy has lost its folders.
pub fn is_digest(log_type: LogType, key: &str) -> bool {
    const FOLDERS: [&str; 2] = ["/CloudTrail-Digest/", "/CloudTrail-Lake/"];
    const PROBE: &str = "ConfigWritabilityCheckFile";
    let name = key.rsplit('/').next().unwrap_or_default();
    log_type == LogType::CloudTrail
        && (FOLDERS.iter().any(|folder| key.contains(folder))
            || name.contains("_CloudTrail-Digest_")
            || name.ends_with(PROBE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(log_type: LogType, text: &str) -> (Option<Layout>, Option<String>) {
        let pattern = PrefixPattern::parse(text).expect("a test pattern").in_timezone(chrono_tz::Asia::Tokyo);
        let result = complete(log_type, pattern.clone());
        assert_eq!(result.pattern.timezone(), chrono_tz::Asia::Tokyo, "{text}");
        assert_eq!(result.completed, result.pattern != pattern, "{text}");
        (result.layout, result.completed.then(|| result.pattern.to_string()))
    }

    #[test]
    fn patterns_before_the_date_are_completed() {
        use LogType::{CloudTrail, VpcFlow, Waf};
        let cases = [
            (CloudTrail, "AWSLogs/111122223333/CloudTrail/us-east-1"),
            (CloudTrail, "AWSLogs/*/CloudTrail/*"),
            (CloudTrail, "AWSLogs/*/CloudTrail/us-gov-*"),
            (CloudTrail, "AWSLogs/*/CloudTrail/*-1"),
            (CloudTrail, "some/folder/AWSLogs/*/CloudTrail-Insight/eu-west-1"),
            (CloudTrail, "AWSLogs/*/CloudTrail*/eusc-de-east-1"),
            (CloudTrail, "AWSLogs/o-exampleorgid/*/CloudTrail/us-east-1"),
            (CloudTrail, "AWSLogs/*/*/CloudTrail/us-east-1"),
            (CloudTrail, "OU-ID/AWSLogs/OU-ID/*/CloudTrail/us-east-1"),
            (CloudTrail, "AWSLogs/AWSLogs/*/CloudTrail/us-east-1"),
            (VpcFlow, "x/AWSLogs/*/vpcflowlogs/us-gov-west-1"),
            (VpcFlow, "AWSLogs/111122223333/vpcflowlogs/us-east-1"),
            (VpcFlow, "AWSLogs/OU-ID/*/vpcflowlogs/*"),
            (VpcFlow, "AWSLogs/o-exampleorgid/*/vpcflowlogs/us-east-1"),
            (VpcFlow, "OU-ID/AWSLogs/OU-ID/*/vpcflowlogs/eu-west-1"),
            (Waf, "AWSLogs/*/WAFLogs/cloudfront/*"),
            (Waf, "AWSLogs/111122223333/WAFLogs/us-east-1/my_acl-1"),
            (Waf, "AWSLogs/OU-ID/*/WAFLogs/us-east-1/*"),
            (Waf, "OU-ID/AWSLogs/OU-ID/*/WAFLogs/cloudfront/*"),
        ];
        for (log_type, text) in cases {
            let (layout, pattern) = completed(log_type, text);
            assert_eq!(pattern.as_deref(), Some(&*format!("{text}/{{YYYY}}/{{mm}}/{{dd}}")), "{text}");
            assert!(layout.is_some());
            assert_eq!(
                completed(log_type, &format!("{text}/{{YYYY}}/{{mm}}/{{dd}}")),
                (layout, None),
                "{text}"
            );
        }
        for text in [
            "AWSLogs/aws-account-id=*/aws-service=vpcflowlogs/aws-region=*",
            "p/AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=us-east-1",
            "AWSLogs/*/aws-service=vpcflowlogs/*",
            "OU-ID/AWSLogs/OU-ID/aws-account-id=*/aws-service=vpcflowlogs/aws-region=us-east-1",
        ] {
            let want = format!("{text}/year={{YYYY}}/month={{mm}}/day={{dd}}");
            assert_eq!(completed(VpcFlow, text), (Some(Layout::VpcFlow), Some(want)));
        }
    }

    #[test]
    fn a_date_path_is_recognised() {
        use LogType::{CloudTrail, VpcFlow, Waf};
        let cases = [
            (CloudTrail, "AWSLogs/*/CloudTrail/us-east-1/{YYYY}", Some(Layout::CloudTrail)),
            (
                CloudTrail,
                "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}/*_CloudTrail_*",
                Some(Layout::CloudTrail),
            ),
            (
                CloudTrail,
                "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}/*_{YYYY}{mm}{dd}T",
                Some(Layout::CloudTrail),
            ),
            (CloudTrail, "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}/{HH}", None),
            (CloudTrail, "AWSLogs/*/CloudTrail/us-east-1/{YYYY}-{mm}", None),
            (CloudTrail, "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{m}", None),
            (VpcFlow, "AWSLogs/*/vpcflowlogs/us-east-1/{YYYY}/{mm}/{dd}/{HH}", Some(Layout::VpcFlow)),
            (
                VpcFlow,
                "AWSLogs/aws-account-id=*/aws-service=vpcflowlogs/aws-region=*/year={YYYY}/month={mm}/day={dd}/hour={HH}",
                Some(Layout::VpcFlow),
            ),
            (VpcFlow, "AWSLogs/*/vpcflowlogs/us-east-1/year={YYYY}/month={mm}/day={dd}", None),
            (Waf, "AWSLogs/*/WAFLogs/us-east-1/*/{YYYY}/{mm}/{dd}/{HH}/{MM}", Some(Layout::Waf)),
            (Waf, "AWSLogs/*/WAFLogs/us-east-1/{YYYY}/{mm}/{dd}", None),
        ];
        for (log_type, text, layout) in cases {
            assert_eq!(completed(log_type, text), (layout, None), "{text}");
        }
    }

    #[test]
    fn other_patterns_stay_as_they_are() {
        use LogType::{CloudTrail, Jsonl, VpcFlow, Waf};
        let cases = [
            ("another log type", VpcFlow, "AWSLogs/*/CloudTrail/us-east-1"),
            ("a log type without a layout", Jsonl, "AWSLogs/*/CloudTrail/us-east-1"),
            ("no region", CloudTrail, "AWSLogs/*/CloudTrail"),
            ("a part of a region's name", CloudTrail, "AWSLogs/*/CloudTrail/us-"),
            ("no folder word", CloudTrail, "AWSLogs/*/*/us-east-1"),
            ("digests", CloudTrail, "AWSLogs/*/CloudTrail-Digest/us-east-1"),
            ("lake", CloudTrail, "AWSLogs/*/CloudTrail-Lake/Query"),
            ("something below the region", CloudTrail, "AWSLogs/*/CloudTrail/us-east-1/2024"),
            ("no AWSLogs", CloudTrail, "trail/111122223333/CloudTrail/us-east-1"),
            ("no account", CloudTrail, "AWSLogs/x/CloudTrail/us-east-1"),
            ("dates before the layout", CloudTrail, "{YYYY}/AWSLogs/*/CloudTrail/us-east-1"),
            ("half of the Hive form", VpcFlow, "AWSLogs/111122223333/aws-service=vpcflowlogs/us-east-1"),
            ("the web ACL is missing", Waf, "AWSLogs/*/WAFLogs/us-east-1"),
            ("Firehose's own dates", Waf, "waf/{YYYY}/{mm}/{dd}/{HH}"),
            ("the root", CloudTrail, "/"),
        ];
        for (name, log_type, text) in cases {
            assert_eq!(completed(log_type, text), (None, None), "{name}");
        }
    }

    #[test]
    fn digests_and_query_results_are_told_by_their_place() {
        let digest = "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/06/01/x.json.gz";
        let table = [
            ("a digest", LogType::CloudTrail, digest, true),
            ("a digest's name says nothing of a WAF log", LogType::Waf, digest, false),
            (
                "a digest without its folder",
                LogType::CloudTrail,
                "111122223333_CloudTrail-Digest_us-east-1_t_us-east-1_20260601T010000Z_backfill.json.gz",
                true,
            ),
            ("a query result", LogType::CloudTrail, "AWSLogs/111122223333/CloudTrail-Lake/Query/x.csv", true),
            (
                "the probe",
                LogType::CloudTrail,
                "AWSLogs/111122223333/Config/ConfigWritabilityCheckFile",
                true,
            ),
            ("a log file", LogType::CloudTrail, "AWSLogs/111122223333/CloudTrail/us-east-1/x.json.gz", false),
        ];
        for (name, log_type, key, want) in table {
            assert_eq!(is_digest(log_type, key), want, "{name}");
        }
    }
}
