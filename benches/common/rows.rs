//! VPC flow and WAF objects that look real: interfaces, addresses and clients repeat, as they do in
//! one network and behind one web ACL. The same arguments give the same bytes.

use std::fmt::Write as _;
use std::io::Write as _;

use bytes::Bytes;
use fastrand::Rng;
use flate2::{Compression, write::GzEncoder};

/// gzip's default, and near what the services write.
const LEVEL: u32 = 6;
/// Seconds of the first record.
const BEGAN: u64 = 1_748_736_000;

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "curl/8.9.1",
    "okhttp/4.12.0",
];
const PAGES: [&str; 5] = ["/", "/login", "/api/v2/orders", "/static/app.js", "/search"];
const COUNTRIES: [&str; 4] = ["DE", "US", "NL", "BR"];

/// Flow rows of the default format, gzip.
pub fn flow_object(rows: u64) -> Bytes {
    let mut random = Rng::with_seed(rows);
    let mut text = String::from(
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n",
    );
    let interfaces: Vec<u64> = (0..40).map(|_| random.u64(0..1 << 60)).collect();
    for row in 0..rows {
        let interface = interfaces[random.usize(0..interfaces.len())];
        let (host, port) = (random.u8(1..60), random.u16(32_768..61_000));
        let (packets, size) = (random.u32(1..400), random.u32(40..1_400));
        let start = BEGAN + row / 20;
        let action = if random.u8(0..20) == 0 { "REJECT" } else { "ACCEPT" };
        let _ = writeln!(
            text,
            "2 111122223333 eni-{interface:017x} 203.0.{}.{host} 10.0.{}.{} {port} {} 6 {packets} {} {start} {} {action} OK",
            random.u8(110..118),
            random.u8(0..8),
            random.u8(4..250),
            [443, 80, 22, 5432][random.usize(0..4)],
            packets * size,
            start + random.u64(1..60),
        );
    }
    gzip(&text)
}

/// WAF records, one per line, gzip: a shop of some clients that come again, with the headers and
/// fingerprints of browsers.
pub fn waf_object(records: u64) -> Bytes {
    let mut random = Rng::with_seed(records);
    let mut text = String::new();
    let clients: Vec<[u64; 4]> = (0..200).map(|_| std::array::from_fn(|_| random.u64(..))).collect();
    for record in 0..records {
        let client = clients[random.usize(0..clients.len())];
        let pick = |count: usize| client[0] as usize % count;
        let page = PAGES[random.usize(0..PAGES.len())];
        let (trace, request, item) = (random.u128(..), random.u128(..), random.u32(0..1_000_000));
        let _ = writeln!(
            text,
            concat!(
                r#"{{"timestamp":{},"formatVersion":1,"webaclId":"arn:aws:wafv2:us-east-1:111122223333:global/webacl/shop/"#,
                r#"ba65a1c5-7c8e-4f0e-9d3a-1f2b3c4d5e6f","terminatingRuleId":"Default_Action","terminatingRuleType":"REGULAR","#,
                r#""action":"{}","terminatingRuleMatchDetails":[],"httpSourceName":"CF","httpSourceId":"E1EXAMPLE","#,
                r#""ruleGroupList":[{{"ruleGroupId":"AWS#AWSManagedRulesCommonRuleSet","terminatingRule":null,"#,
                r#""nonTerminatingMatchingRules":[],"excludedRules":null}}],"rateBasedRuleList":[],"nonTerminatingMatchingRules":[],"#,
                r#""requestHeadersInserted":null,"responseCodeSent":null,"httpRequest":{{"clientIp":"198.51.{}.{}","country":"{}","#,
                r#""headers":[{{"name":"Host","value":"shop.example.com"}},{{"name":"User-Agent","value":"{}"}},"#,
                r#"{{"name":"Accept","value":"*/*"}},{{"name":"X-Amzn-Trace-Id","value":"Root=1-{:032x}"}},"#,
                r#"{{"name":"Cookie","value":"session={:016x}{:016x}"}}],"uri":"{}","args":"id={}","#,
                r#""httpVersion":"HTTP/2.0","httpMethod":"GET","requestId":"{:032x}"}},"#,
                r#""labels":[{{"name":"awswaf:clientip:geo:country:{}"}}],"ja3Fingerprint":"{:016x}{:016x}"}}"#,
            ),
            (BEGAN + record / 10) * 1_000 + u64::from(random.u16(0..1_000)),
            if random.u8(0..10) == 0 { "BLOCK" } else { "ALLOW" },
            100 + client[1] % 4,
            1 + client[1] / 4 % 250,
            COUNTRIES[pick(COUNTRIES.len())],
            AGENTS[pick(AGENTS.len())],
            trace,
            client[2],
            client[3],
            page,
            item,
            request,
            COUNTRIES[pick(COUNTRIES.len())],
            client[3],
            client[2],
        );
    }
    gzip(&text)
}

fn gzip(text: &str) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(text.as_bytes()).expect("a vector takes all bytes");
    Bytes::from(encoder.finish().expect("a vector takes all bytes"))
}
