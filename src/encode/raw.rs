//! The original record, one per line.
//!
//! Line breaks between the tokens of a JSON record become spaces, the values of secret request
//! headers in WAF records are hidden; nothing else is changed. This is what parsers of AWS's own
//! records read, QRadar's for CloudTrail among them.

use std::sync::Arc;

use super::mask::HeaderMask;
use super::{EncodeSettings, Encoder, Origin, SettingsError, push_in_one_line};
use crate::record::{LogType, Record};

/// Encodes the records of any log type.
#[derive(Clone, Debug)]
pub struct RawEncoder {
    /// What is hidden of WAF records.
    mask: Option<HeaderMask>,
}

pub(super) fn build(log_type: LogType, settings: &EncodeSettings) -> Result<Arc<dyn Encoder>, SettingsError> {
    let mask = (log_type == LogType::Waf).then(|| HeaderMask::new(&settings.interflow.mask_headers));
    Ok(Arc::new(RawEncoder { mask }))
}

impl Encoder for RawEncoder {
    fn encode(&self, record: &Record<'_>, _: &Origin, out: &mut Vec<u8>) {
        match &self.mask {
            Some(mask) => mask.push_one_line(record, out),
            None => push_in_one_line(record, record.raw(), out),
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    use super::super::{ENCODINGS, Encoding};
    use crate::decode::json_lines::{JsonLinesDecoder, WAF_FIELDS};
    use crate::decode::testing::for_each_record;

    static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(0, 0));

    #[test]
    fn one_line_and_else_the_original() {
        let raw = b"{ \"a\" :\r\n\t\"\\u0061\\n\", \"n\": 1.50e+2,\n \"b\": {} }";
        let mut out = b"before\n".to_vec();
        let encoder = build(LogType::CloudTrail, &EncodeSettings::default()).unwrap();
        encoder.encode(&Record::new(raw, &[]), &ORIGIN, &mut out);
        let want = "before\n{ \"a\" :  \t\"\\u0061\\n\", \"n\": 1.50e+2,  \"b\": {} }\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn secrets_of_waf_records_are_hidden() {
        let record =
            br#"{"httpRequest":{"headers":[{"name":"cookie","value":"session=1"},{"name":"Host","value":"h"}]}}"#;
        let encoder = build(LogType::Waf, &EncodeSettings::default()).unwrap();
        let mut out = Vec::new();
        let mut decoder = JsonLinesDecoder::new(&WAF_FIELDS, 1 << 20);
        for_each_record(&mut decoder, record, |record| encoder.encode(record, &ORIGIN, &mut out)).unwrap();
        let want = String::from_utf8_lossy(record).replace("session=1", "REDACTED") + "\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    fn line_of(encoding: &Encoding, settings: &EncodeSettings, record: &str) -> String {
        let encoder = encoding.encoder(LogType::Waf, settings).unwrap();
        let mut out = Vec::new();
        let mut decoder = JsonLinesDecoder::new(&WAF_FIELDS, 1 << 20);
        for_each_record(&mut decoder, record.as_bytes(), |record| encoder.encode(record, &ORIGIN, &mut out))
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_of_other_lists_are_hidden_in_each_encoding() {
        const RULES: &str = r#""rateBasedRuleList":[{"limitKey":"IP"},{"customValues":[{"key":"HEADER","name":"authorization","value":"s3cret-1"},{"key":"h\u0065ader","name":"Cook\u0069e","value":"s3cret-2"},{"key":"COOKIE","name":"session","value":"s3cret-3"},{"key":"HEADER","name":"Host","value":"kept-1"},{"key":"QUERY_ARGUMENT","name":"Cookie","value":"kept-2"}]}]"#;
        const INSERTED: &str = r#""requestHeadersInserted":[{"name":"x-amzn-waf-a","value":"kept-3"},{"name":"COOKIE","value":"s3cret-4"}]"#;
        const REQUEST: &str =
            r#""httpRequest":{"headers":[{"name":"Cookie","value":"s3cret-5"},{"name":"Host","value":"h"}]}"#;
        const MANY: &str = r#""rateBasedRuleList":[{"customValues":[{"key":"COOKIE","value":"s3cret-1"},{"key":"COOKIE","value":"s3cret-2"},{"key":"COOKIE","value":"s3cret-3"},{"key":"COOKIE","value":"s3cret-4"},{"key":"COOKIE","value":"s3cret-5"},{"key":"COOKIE","value":"s3cret-6"},{"key":"COOKIE","value":"s3cret-7"}]}]"#;
        let empty = r#""rateBasedRuleList":[]"#;
        for (name, members) in [
            ("before the request", [RULES, INSERTED, REQUEST]),
            ("behind the request", [REQUEST, INSERTED, RULES]),
            ("on both sides", [RULES, REQUEST, INSERTED]),
            ("many", [REQUEST, MANY, INSERTED]),
            ("twins of which the last is empty", [RULES, REQUEST, empty]),
            ("twins of which the last has some", [RULES, REQUEST, MANY]),
            ("no lists", [r#""requestHeadersInserted":null"#, REQUEST, empty]),
        ] {
            let record = format!("{{{}}}", members.join(","));
            for encoding in ENCODINGS {
                let line = line_of(encoding, &EncodeSettings::default(), &record);
                assert!(!line.contains("s3cret"), "{name}: {line}");
                if encoding.word == "raw" {
                    let mut want = record.clone() + "\n";
                    (1..=7).for_each(|n| want = want.replace(&format!("s3cret-{n}"), "REDACTED"));
                    assert_eq!(line, want, "{name}");
                }
            }
        }
        let mut own = EncodeSettings::default();
        own.interflow.mask_headers = vec!["Host".to_owned()];
        let line = line_of(&ENCODINGS[0], &own, &format!("{{{RULES}}}"));
        assert!(line.contains("s3cret-3") && !line.contains("kept-1"), "{line}");
    }
}
