//! The names of the members of Interflow lines: each is either one that the product's public pages
//! and exports show, or one that this project adds knowingly.

use std::collections::BTreeSet;

use s3sweep::config;
use s3sweep::encode::interflow::members;
use s3sweep::record::LogType;

/// Top-level names of Interflow records, as its public pages, parsers and exports show them.
const DOCUMENTED: &[&str] = &[
    "timestamp",
    "timestamp_utc",
    "write_time",
    "receive_time",
    "alert_time",
    "start_time",
    "cust_id",
    "tenantid",
    "tenant_name",
    "org_id",
    "org_name",
    "locid",
    "netid",
    "netid_name",
    "engid",
    "engid_name",
    "engid_gateway",
    "engid_device_class",
    "engid_device_desc",
    "obsid",
    "port_name",
    "srcip",
    "srcip_host",
    "srcip_type",
    "srcip_version",
    "srcip_reputation",
    "srcip_reputation_source",
    "srcip_username",
    "srcip_usersid",
    "srcmac",
    "srcport",
    "srcip_geo",
    "srcip_geo_point",
    "srcip_geo_source",
    "dstip",
    "dstip_host",
    "dstip_type",
    "dstip_version",
    "dstip_reputation",
    "dstip_reputation_source",
    "dstip_username",
    "dstip_usersid",
    "dstmac",
    "dstport",
    "dstip_geo",
    "dstip_geo_point",
    "dstip_geo_source",
    "proto",
    "proto_name",
    "appid",
    "appid_name",
    "appid_family",
    "appid_stdport",
    "duration",
    "state",
    "tcp_rtt",
    "end_reason",
    "msgtype",
    "msgtype_name",
    "msg_class",
    "msg_origin",
    "event_source",
    "event_name",
    "event_type",
    "event_category",
    "event_status",
    "event_score",
    "event_id",
    "fidelity",
    "severity",
    "threat_score",
    "action",
    "login_type",
    "login_result",
    "hostip",
    "hostip_host",
    "hostip_username",
    "hostip_usersid",
    "hostname",
    "computer_name",
    "user",
    "username",
    "user_name",
    "process_name",
    "repeat_count",
    "domain_list",
    "request_url",
    "xdr_event",
    "aella_tuples",
    "orig_index",
    "orig_id",
    "stellar",
    "user_action",
    "_id",
    "service",
    "outbytes_total",
    "inbytes_total",
    "outpkts_delta",
    "inpkts_delta",
    "outpkts_total",
    "inpkts_total",
    "totalbytes",
    "totalpackets",
    "event",
    "host",
    "process",
    "threat",
];

/// Names that this project adds: ECS names, where the record came from, and what flow rows and web
/// requests have beside.
const OWN: &[&str] = &[
    "end_time",
    "cloud",
    "user_agent",
    "s3",
    "rule",
    "url",
    "http",
    "tls",
    "tags",
    "direction",
    "tcp_flags_name",
    "srcip_original",
    "dstip_original",
];

#[test]
fn every_name_is_documented_or_our_own() {
    let (documented, own) = (BTreeSet::from_iter(DOCUMENTED), BTreeSet::from_iter(OWN));
    assert_eq!(documented.intersection(&own).count(), 0, "no name is both");
    assert_eq!((documented.len(), own.len()), (DOCUMENTED.len(), OWN.len()), "each name stands once");
    for log_type in LogType::ALL {
        let members = members(log_type);
        assert_eq!(BTreeSet::from_iter(members).len(), members.len(), "{log_type:?}: each name stands once");
        for name in members {
            assert!(documented.contains(name) || own.contains(name), "{log_type:?}: {name}");
        }
    }
}

#[test]
fn the_page_names_our_own() {
    const PAGE: &str = include_str!("../../docs/records.md");
    let (_, after) = PAGE.split_once("which are this project's:").expect("the page lists them");
    let (list, _) = after.split_once("\n\n").expect("a paragraph");
    let named: Vec<_> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, OWN);
}

#[test]
fn the_configuration_knows_every_name() {
    for name in LogType::ALL.into_iter().flat_map(members) {
        let text = format!(
            "state_dir = \"s\"\nsink = {{ type = \"stdout\" }}\n[[source]]\nname = \"a\"\nlog_type = \"waf\"\n\
             bucket = \"acme\"\nprefix = \"x\"\nvendor_object = \"{name}\"\n"
        );
        let error = config::parse("s3sweep.toml".into(), &text).expect_err(name).to_string();
        assert!(error.contains("vendor_object"), "{name}: {error}");
    }
}
