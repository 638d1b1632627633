//! What a CloudTrail record says, whatever the form it is written in.

use super::text;
use crate::record::cloudtrail::field;
use crate::record::{Record, json, time};

/// What kind of event it is, and how it went.
pub(super) struct Event<'a> {
    pub time: Option<i64>,
    pub id: Option<&'a [u8]>,
    pub name: Option<&'a [u8]>,
    pub source: Option<&'a [u8]>,
    pub event_type: Option<&'a [u8]>,
    pub category: Option<&'a [u8]>,
    pub outcome: Option<&'a [u8]>,
    pub reason: Option<&'a [u8]>,
}

impl<'a> Event<'a> {
    pub(super) fn new(record: &Record<'a>) -> Self {
        let get = |field| text(record, field);
        let millis = |field| get(field).and_then(time::epoch_millis);
        let managed = || record.get(field::MANAGEMENT_EVENT) == Some(b"true");
        let mut event = Event {
            time: millis(field::EVENT_TIME).or_else(|| millis(field::TIME_WINDOW_START)),
            id: get(field::EVENT_ID).or_else(|| get(field::AGGREGATED_EVENT_ID)),
            name: get(field::EVENT_NAME).or_else(|| get(field::INSIGHT_EVENT_NAME)),
            source: get(field::EVENT_SOURCE).or_else(|| get(field::INSIGHT_EVENT_SOURCE)),
            event_type: get(field::EVENT_TYPE),
            // Records before eventVersion 1.07 have no category.
            category: get(field::EVENT_CATEGORY).or_else(|| managed().then_some(&b"Management"[..])),
            outcome: None,
            reason: get(field::ERROR_MESSAGE),
        };
        event.outcome = event.judge(record);
        event
    }

    fn judge(&self, record: &Record<'a>) -> Option<&'a [u8]> {
        let sums_up = matches!(self.category, Some(b"Insight" | b"Aggregated"))
            || matches!(self.event_type, Some(b"AwsCloudTrailInsight" | b"AwsAggregatedEvent"));
        if sums_up {
            return None;
        }
        let has_code = record.get(field::ERROR_CODE).is_some_and(|code| !json::is_blank(code));
        let failed = has_code || self.sign_in_failed(record);
        Some(if failed { b"failure" } else { b"success" })
    }

    /// A sign-in has no error code: it tells how it went in a member named as the event.
    fn sign_in_failed(&self, record: &Record<'a>) -> bool {
        if self.event_type != Some(b"AwsConsoleSignIn") && self.source != Some(b"signin.amazonaws.com") {
            return false;
        }
        let Some(name) = self.name.map(json::unescape) else {
            return false;
        };
        [field::RESPONSE_ELEMENTS, field::SERVICE_EVENT_DETAILS]
            .into_iter()
            .filter_map(|details| json::member(record.get(details)?, &name))
            .any(|result| result == b"\"Failure\"")
    }
}
