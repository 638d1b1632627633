use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::decode::DecodeSettings;
use crate::decode::testing::for_each_record;
use crate::decode::vpcflow::VpcFlowDecoder;

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(0, 1_418_530_700_000));
const DEFAULT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
                       start end action log-status";

/// The lines of the rows below a header.
fn lines(object: &str) -> Vec<Value> {
    let encoder = VpcFlowEncoder::new(&InterflowSettings::default()).unwrap();
    let settings = DecodeSettings { keep_nodata: true, ..Default::default() };
    let mut lines = Vec::new();
    for_each_record(&mut VpcFlowDecoder::new(&settings), object.as_bytes(), |record| {
        let mut out = Vec::new();
        encoder.encode(record, &ORIGIN, &mut out);
        assert_eq!(out.iter().position(|byte| *byte == b'\n'), Some(out.len() - 1), "one line");
        lines.push(serde_json::from_slice(&out).unwrap());
    })
    .unwrap();
    lines
}

/// The members that a line has beside those that every line has.
fn members(object: &str) -> Value {
    let mut line = lines(object).remove(0);
    for name in ["write_time", "msg_class", "msg_origin", "_id", "s3"] {
        assert!(line.as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    line
}

#[test]
fn a_whole_row() {
    let row = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 8.8.8.8 20641 22 6 20 4249 1418530010 \
               1418530070 ACCEPT OK";
    let line = lines(&format!("{DEFAULT}\n{row}\n")).remove(0);
    let id = line["_id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(
        line,
        json!({
            "timestamp": 1_418_530_010_000_i64, "write_time": 1_418_530_700_000_i64,
            "msg_class": "vpcflow",
            "msg_origin": {"source": "cloudtrail", "vendor": "aws", "category": "paas",
                "processor": {"type": "log_collector", "name": "cloudtrail"}},
            "_id": id,
            "start_time": 1_418_530_010_000_i64, "end_time": 1_418_530_070_000_i64, "duration": 60_000,
            "srcip": "172.31.16.139", "srcip_type": "private", "srcip_version": 4, "srcport": 20641,
            "dstip": "8.8.8.8", "dstip_type": "public", "dstip_version": 4, "dstport": 22,
            "proto": 6, "proto_name": "tcp",
            "outpkts_delta": 20, "totalpackets": 20, "outbytes_total": 4249, "totalbytes": 4249,
            "action": "allow",
            "s3": {"bucket": "b", "key": "k", "record": 0},
            "aws": {"version": 2, "accountId": "123456789010", "interfaceId": "eni-1235b8ca123456789",
                "action": "ACCEPT", "logStatus": "OK"},
        })
    );
}

/// A line for each row of the mapping: columns, their values, and all that comes of them.
#[test]
fn each_column_has_its_place() {
    const AT: i64 = 1_418_530_700_000;
    for (columns, values, want) in [
        (
            "start",
            "1418530010",
            json!({"timestamp": 1_418_530_010_000_i64, "start_time": 1_418_530_010_000_i64, "aws": {}}),
        ),
        (
            "end",
            "1418530010",
            json!({"timestamp": 1_418_530_010_000_i64, "end_time": 1_418_530_010_000_i64, "aws": {}}),
        ),
        (
            "start end",
            "0 0",
            json!({"timestamp": 0, "start_time": 0, "end_time": 0, "duration": 0, "aws": {}}),
        ),
        (
            "end start",
            "10 20",
            json!({"timestamp": 20_000, "start_time": 20_000, "end_time": 10_000, "aws": {}}),
        ),
        (
            "srcaddr",
            "10.0.0.1",
            json!({"timestamp": AT, "srcip": "10.0.0.1", "srcip_type": "private", "srcip_version": 4, "aws": {}}),
        ),
        (
            "dstaddr",
            "2001:db8::1",
            json!({"timestamp": AT, "dstip": "2001:db8::1", "dstip_type": "public", "dstip_version": 6, "aws": {}}),
        ),
        ("srcport dstport", "0 443", json!({"timestamp": AT, "srcport": 0, "dstport": 443, "aws": {}})),
        ("protocol", "1", json!({"timestamp": AT, "proto": 1, "proto_name": "icmp", "aws": {}})),
        ("protocol", "17", json!({"timestamp": AT, "proto": 17, "proto_name": "udp", "aws": {}})),
        ("protocol", "47", json!({"timestamp": AT, "proto": 47, "proto_name": "gre", "aws": {}})),
        ("protocol", "50", json!({"timestamp": AT, "proto": 50, "proto_name": "esp", "aws": {}})),
        ("protocol", "58", json!({"timestamp": AT, "proto": 58, "proto_name": "ipv6-icmp", "aws": {}})),
        ("protocol", "132", json!({"timestamp": AT, "proto": 132, "proto_name": "sctp", "aws": {}})),
        ("protocol", "253", json!({"timestamp": AT, "proto": 253, "proto_name": "253", "aws": {}})),
        ("packets", "7", json!({"timestamp": AT, "outpkts_delta": 7, "totalpackets": 7, "aws": {}})),
        (
            "bytes",
            "123456789012",
            json!({"timestamp": AT, "outbytes_total": 123_456_789_012_i64, "totalbytes": 123_456_789_012_i64, "aws": {}}),
        ),
        ("action", "ACCEPT", json!({"timestamp": AT, "action": "allow", "aws": {"action": "ACCEPT"}})),
        ("action", "REJECT", json!({"timestamp": AT, "action": "block", "aws": {"action": "REJECT"}})),
        ("action", "NEW", json!({"timestamp": AT, "aws": {"action": "NEW"}})),
        ("log-status", "SKIPDATA", json!({"timestamp": AT, "aws": {"logStatus": "SKIPDATA"}})),
        (
            "version account-id interface-id",
            "11 unknown -",
            json!({"timestamp": AT, "aws": {"version": 11, "accountId": "unknown"}}),
        ),
        (
            "vpc-id subnet-id instance-id",
            "v s i",
            json!({"timestamp": AT, "aws": {"vpcId": "v", "subnetId": "s", "instanceId": "i"}}),
        ),
        ("tcp-flags", "0", json!({"timestamp": AT, "aws": {"tcpFlags": 0}})),
        ("tcp-flags", "2", json!({"timestamp": AT, "tcp_flags_name": "SYN", "aws": {"tcpFlags": 2}})),
        ("tcp-flags", "18", json!({"timestamp": AT, "tcp_flags_name": "SYN|ACK", "aws": {"tcpFlags": 18}})),
        ("tcp-flags", "3", json!({"timestamp": AT, "tcp_flags_name": "SYN|FIN", "aws": {"tcpFlags": 3}})),
        ("tcp-flags", "4", json!({"timestamp": AT, "tcp_flags_name": "RST", "aws": {"tcpFlags": 4}})),
        ("tcp-flags", "64", json!({"timestamp": AT, "aws": {"tcpFlags": 64}})),
        ("tcp-flags", "x", json!({"timestamp": AT, "aws": {"tcpFlags": "x"}})),
        (
            "type",
            "IPv6",
            json!({"timestamp": AT, "srcip_version": 6, "dstip_version": 6, "aws": {"type": "IPv6"}}),
        ),
        ("type", "EFA", json!({"timestamp": AT, "aws": {"type": "EFA"}})),
        (
            "srcaddr pkt-srcaddr",
            "10.0.0.1 192.0.2.9",
            json!({"timestamp": AT, "srcip": "10.0.0.1", "srcip_type": "private", "srcip_version": 4,
                "srcip_original": "192.0.2.9", "aws": {"pktSrcaddr": "192.0.2.9"}}),
        ),
        (
            "dstaddr pkt-dstaddr",
            "10.0.0.1 10.0.0.1",
            json!({"timestamp": AT, "dstip": "10.0.0.1", "dstip_type": "private", "dstip_version": 4,
                "aws": {"pktDstaddr": "10.0.0.1"}}),
        ),
        (
            "pkt-dstaddr",
            "10.0.0.1",
            json!({"timestamp": AT, "dstip_original": "10.0.0.1", "aws": {"pktDstaddr": "10.0.0.1"}}),
        ),
        (
            "region az-id sublocation-type sublocation-id",
            "us-east-1 use1-az4 wavelength x",
            json!({"timestamp": AT, "aws": {"region": "us-east-1", "azId": "use1-az4", "sublocationType": "wavelength", "sublocationId": "x"}}),
        ),
        (
            "pkt-src-aws-service pkt-dst-aws-service",
            "S3 AMAZON",
            json!({"timestamp": AT, "aws": {"pktSrcAwsService": "S3", "pktDstAwsService": "AMAZON"}}),
        ),
        (
            "flow-direction",
            "ingress",
            json!({"timestamp": AT, "direction": "inbound", "aws": {"flowDirection": "ingress"}}),
        ),
        (
            "flow-direction",
            "egress",
            json!({"timestamp": AT, "direction": "outbound", "aws": {"flowDirection": "egress"}}),
        ),
        ("traffic-path", "8", json!({"timestamp": AT, "aws": {"trafficPath": 8}})),
        (
            "resource-type tgw-id tgw-src-vpc-account-id tgw-dst-eni packets-lost-no-route packets-lost-ttl-expired",
            "TransitGateway tgw-1 111122223333 eni-2 0 12",
            json!({"timestamp": AT, "aws": {"resourceType": "TransitGateway", "tgwId": "tgw-1",
                "tgwSrcVpcAccountId": "111122223333", "tgwDstEni": "eni-2", "packetsLostNoRoute": 0, "packetsLostTtlExpired": 12}}),
        ),
        (
            "ecs-cluster-arn ecs-second-container-id ecs-task-definition-arn",
            "arn:aws:ecs:c - arn:aws:ecs:t",
            json!({"timestamp": AT, "aws": {"ecsClusterArn": "arn:aws:ecs:c", "ecsTaskDefinitionArn": "arn:aws:ecs:t"}}),
        ),
        (
            "reject-reason",
            "BPA",
            json!({"timestamp": AT, "end_reason": "BPA", "aws": {"rejectReason": "BPA"}}),
        ),
        ("resource-id", "nat-1", json!({"timestamp": AT, "aws": {"resourceId": "nat-1"}})),
        ("encryption-status", "3", json!({"timestamp": AT, "aws": {"encryptionStatus": 3}})),
        (
            "instance-tag instance-tag-2 interface-tag asg-tag-2",
            "a%20%22b%22 gr%C3%BCn 100% %FF%zz",
            json!({"timestamp": AT, "aws": {"instanceTag": "a \"b\"", "instanceTag2": "grün", "interfaceTag": "100%", "asgTag2": "%FF%zz"}}),
        ),
        ("vpc-id", "a%20b", json!({"timestamp": AT, "aws": {"vpcId": "a%20b"}})),
        (
            "interface-type next-hop-interface-id next-hop-az-id",
            "nat eni-9 use1-az1",
            json!({"timestamp": AT, "aws": {"interfaceType": "nat", "nextHopInterfaceId": "eni-9", "nextHopAzId": "use1-az1"}}),
        ),
        (
            "version later-column",
            "2 007",
            json!({"timestamp": AT, "aws": {"version": 2, "laterColumn": "007"}}),
        ),
    ] {
        assert_eq!(members(&format!("{columns}\n{values}")), want, "{columns}: {values}");
    }
}

#[test]
fn what_does_not_fit_is_kept_as_it_is() {
    let values = "0x2 a host1 1.2.3 -1 70x 06 1234567890123456789 1.5 141853001000 later OK";
    let want = json!({"timestamp": ORIGIN.write_time(), "aws": {
        "version": "0x2", "accountId": "a", "srcaddr": "host1", "dstaddr": "1.2.3", "srcport": "-1", "dstport": "70x",
        "protocol": "06", "packets": "1234567890123456789", "bytes": "1.5", "start": "141853001000", "end": "later",
        "logStatus": "OK"}});
    let columns =
        "version account-id srcaddr dstaddr srcport dstport protocol packets bytes start end log-status";
    assert_eq!(members(&format!("{columns}\n{values}")), want);
}

#[test]
fn a_row_without_data_says_when_and_where() {
    let row = "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA";
    let want = json!({"timestamp": 1_431_280_876_000_i64, "start_time": 1_431_280_876_000_i64,
        "end_time": 1_431_280_934_000_i64, "duration": 58_000,
        "aws": {"version": 2, "accountId": "123456789010", "interfaceId": "eni-1", "logStatus": "NODATA"}});
    assert_eq!(members(&format!("{DEFAULT}\n{row}")), want);
}

#[test]
fn every_member_is_reserved() {
    let columns = "version srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport protocol packets bytes start end \
                   action flow-direction reject-reason tcp-flags";
    let values = "2 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 1 2 6 1 1 1 2 ACCEPT ingress BPA 2";
    let line = lines(&format!("{columns}\n{values}")).remove(0);
    let settings = |name: &str| InterflowSettings { vendor_object: name.to_owned(), ..Default::default() };
    for name in line.as_object().unwrap().keys().filter(|name| *name != "aws") {
        assert!(VpcFlowEncoder::new(&settings(name)).is_err(), "{name}");
    }
    assert!(VpcFlowEncoder::new(&settings("flow")).is_ok());
}
