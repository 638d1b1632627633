//! CloudTrail objects that look real: callers, roles, resources and addresses repeat within an
//! object as they do in one account's trail, ids differ. About 1,620 bytes per event, a tenth of
//! that after gzip. The same arguments give the same bytes.

use std::fmt::Write as _;
use std::io::Write as _;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use flate2::{Compression, write::GzEncoder};

/// gzip's default, and near what the service writes.
const LEVEL: u32 = 6;
/// Callers at work in one account and region.
const CALLERS: usize = 24;

const AGENTS: [&str; 5] = [
    "Boto3/1.35.20 md/Botocore#1.35.20 ua/2.0 os/linux#5.10.225 lang/python#3.12.5 Botocore/1.35.20",
    "aws-sdk-go-v2/1.32.2 ua/2.1 os/linux lang/go#1.23.2 md/GOOS#linux md/GOARCH#arm64 m/E,g",
    "aws-sdk-java/2.28.16 Linux/6.1.109 OpenJDK_64-Bit_Server_VM/21.0.4 io/sync http/UrlConnection",
    "aws-cli/2.18.5 md/awscrt#0.22.0 ua/2.0 os/linux#6.8.0 lang/python#3.12.6 md/command#s3api.get-object",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.7 (+https://www.terraform.io) terraform-provider-aws/5.70.0",
];
const ROLES: [&str; 6] =
    ["node-group-worker", "payments-api", "etl-nightly", "ci-runner", "SecurityAudit", "backup-vault"];
const PEOPLE: [&str; 6] = ["anna.berg", "j.okafor", "li.wei", "müller", "release-bot", "ops-oncall"];

/// An object as a bucket holds it.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its bytes, gzip.
    pub bytes: Bytes,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
    /// Bytes after inflating.
    pub inflated: u64,
    /// Records in it.
    pub records: u64,
}

/// Where and when an object was written.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Twelve digits.
    pub account: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The time in the key; events lie up to 15 minutes before it.
    pub time: DateTime<Utc>,
}

/// How much goes into an object.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// So many records.
    Records(u64),
    /// Records until it inflates to at least so many bytes.
    Bytes(u64),
}

/// `count` objects spread over 4 accounts, 3 regions and the time from `first` to `last`.
pub fn objects(
    count: u64,
    amount: Amount,
    (first, last): (DateTime<Utc>, DateTime<Utc>),
) -> impl Iterator<Item = Object> {
    const ACCOUNTS: [&str; 4] = ["111122223333", "222233334444", "333344445555", "444455556666"];
    const REGIONS: [&str; 3] = ["eu-west-1", "us-east-1", "us-west-2"];
    let step = (last - first) / i32::try_from(count.max(1)).unwrap_or(i32::MAX);
    (0..count).map(move |number| {
        let time = first + step * i32::try_from(number).unwrap_or(i32::MAX);
        let (account, region) = (ACCOUNTS[number as usize % 4], REGIONS[number as usize / 4 % 3]);
        object(number, Site { account, region, time }, amount)
    })
}

/// One object; another `seed` gives another one.
pub fn object(seed: u64, site: Site<'_>, amount: Amount) -> Object {
    let mut events = Events::new(seed, site);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    let (mut text, mut inflated, mut records) = (String::from("{\"Records\":["), 0, 0);
    loop {
        if records > 0 {
            text.push(',');
        }
        events.append(&mut text);
        records += 1;
        let is_full = match amount {
            Amount::Records(count) => records >= count,
            Amount::Bytes(count) => inflated + text.len() as u64 >= count,
        };
        if is_full {
            text.push_str("]}");
        }
        if is_full || text.len() > 64 * 1024 {
            encoder.write_all(text.as_bytes()).expect("a vector takes all bytes");
            inflated += text.len() as u64;
            text.clear();
        }
        if is_full {
            break;
        }
    }
    let bytes = Bytes::from(encoder.finish().expect("a vector takes all bytes"));
    Object { key: key(&mut events.random, site), bytes, last_modified: site.time, inflated, records }
}

fn key(random: &mut Rng, Site { account, region, time }: Site<'_>) -> String {
    let (day, stamp) = (time.format("%Y/%m/%d"), time.format("%Y%m%dT%H%MZ"));
    let suffix = letters(random, 16);
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{stamp}_{suffix}.json.gz"
    )
}

/// Who calls, from where, with what.
struct Caller {
    identity: String,
    address: String,
    agent: &'static str,
}

/// Events of one account and region.
struct Events<'a> {
    random: Rng,
    site: Site<'a>,
    callers: Vec<Caller>,
    /// Names of instances, keys and the like that calls are about.
    resources: Vec<String>,
}

impl<'a> Events<'a> {
    fn new(seed: u64, site: Site<'a>) -> Self {
        let mut random = Rng::with_seed(seed ^ 0x5357_4545_5000);
        let callers = (0..CALLERS).map(|_| caller(&mut random, site)).collect();
        let resources = (0..CALLERS).map(|_| hex(&mut random, 17)).collect();
        Events { random, site, callers, resources }
    }

    fn resource(&mut self) -> &str {
        let at = self.random.usize(..self.resources.len());
        &self.resources[at]
    }

    /// Appends one event, without white space.
    fn append(&mut self, out: &mut String) {
        let call = self.call();
        let who = self.random.usize(..self.callers.len());
        let time = self.site.time - TimeDelta::seconds(self.random.i64(0..900));
        let Caller { identity, address, agent } = &self.callers[who];
        let Site { account, region, .. } = self.site;
        let (service, name) = (call.service, call.name);
        let time = time.format("%Y-%m-%dT%H:%M:%SZ");
        let failure = match self.random.u8(..16) {
            0 => format!(
                "\"errorCode\":\"AccessDenied\",\"errorMessage\":\"User is not authorized to perform: {service}:{name} because no identity-based policy allows the {service}:{name} action\","
            ),
            _ => String::new(),
        };
        let (request, event) = (uuid(&mut self.random), uuid(&mut self.random));
        let category = if call.is_data { "Data" } else { "Management" };
        let written = write!(
            out,
            "{{\"eventVersion\":\"1.10\",\"userIdentity\":{identity},\"eventTime\":\"{time}\",\"eventSource\":\"{service}.amazonaws.com\",\"eventName\":\"{name}\",\"awsRegion\":\"{region}\",\"sourceIPAddress\":\"{address}\",\"userAgent\":\"{agent}\",{failure}\"requestParameters\":{},\"responseElements\":{},{}\"requestID\":\"{request}\",\"eventID\":\"{event}\",\"readOnly\":{},\"resources\":{},\"eventType\":\"AwsApiCall\",\"managementEvent\":{},\"recipientAccountId\":\"{account}\",\"eventCategory\":\"{category}\",\"tlsDetails\":{{\"tlsVersion\":\"TLSv1.3\",\"cipherSuite\":\"TLS_AES_128_GCM_SHA256\",\"clientProvidedHostHeader\":\"{service}.{region}.amazonaws.com\"}}}}",
            call.request, call.response, call.additional, call.read_only, call.resources, !call.is_data,
        );
        written.expect("a string takes all text");
    }

    /// What is called, by how often it is in a busy account.
    fn call(&mut self) -> Call {
        match self.random.u8(..100) {
            0..30 => self.describe(),
            30..60 => self.object_access(),
            60..68 => self.assume_role(),
            68..86 => self.decrypt(),
            86..95 => self.log_stream(),
            _ => self.start_instances(),
        }
    }

    fn describe(&mut self) -> Call {
        let name = self.random.choice(["DescribeInstances", "DescribeVolumes", "DescribeNetworkInterfaces"]);
        let count = self.random.usize(2..6);
        let items: Vec<_> =
            (0..count).map(|_| format!("{{\"instanceId\":\"i-{}\"}}", self.resource())).collect();
        let request = format!(
            "{{\"maxResults\":1000,\"instancesSet\":{{\"items\":[{}]}},\"filterSet\":{{\"items\":[{{\"name\":\"instance-state-name\",\"valueSet\":{{\"items\":[{{\"value\":\"running\"}},{{\"value\":\"stopped\"}}]}}}}]}}}}",
            items.join(",")
        );
        Call { request, read_only: true, ..Call::of("ec2", name.unwrap_or_default()) }
    }

    fn object_access(&mut self) -> Call {
        let Site { account, region, time } = self.site;
        let name = self.random.choice(["GetObject", "HeadObject", "PutObject"]).unwrap_or_default();
        let bucket = format!("acme-lake-{}-{region}", &account[..4]);
        let (day, part) = (time.format("%Y-%m-%d"), self.random.u32(..20_000));
        let key = format!("warehouse/orders/dt={day}/part-{part:05}-c000.snappy.parquet");
        let (moved, id2) = (self.random.u32(..9_000_000), letters(&mut self.random, 28));
        Call {
            request: format!(
                "{{\"bucketName\":\"{bucket}\",\"Host\":\"{bucket}.s3.{region}.amazonaws.com\",\"key\":\"{key}\"}}"
            ),
            additional: format!(
                "\"additionalEventData\":{{\"SignatureVersion\":\"SigV4\",\"CipherSuite\":\"TLS_AES_128_GCM_SHA256\",\"bytesTransferredIn\":0,\"AuthenticationMethod\":\"AuthHeader\",\"x-amz-id-2\":\"{id2}=\",\"bytesTransferredOut\":{moved}}},"
            ),
            resources: format!(
                "[{{\"type\":\"AWS::S3::Object\",\"ARN\":\"arn:aws:s3:::{bucket}/{key}\"}},{{\"accountId\":\"{account}\",\"type\":\"AWS::S3::Bucket\",\"ARN\":\"arn:aws:s3:::{bucket}\"}}]"
            ),
            read_only: name != "PutObject",
            is_data: true,
            ..Call::of("s3", name)
        }
    }

    fn assume_role(&mut self) -> Call {
        let account = self.site.account;
        let role = self.random.choice(ROLES).unwrap_or_default();
        let session = self.resource().to_owned();
        let token = letters(&mut self.random, 160);
        Call {
            request: format!(
                "{{\"roleArn\":\"arn:aws:iam::{account}:role/{role}\",\"roleSessionName\":\"{session}\",\"durationSeconds\":3600}}"
            ),
            response: format!(
                "{{\"credentials\":{{\"accessKeyId\":\"ASIA{}\",\"sessionToken\":\"{token}\",\"expiration\":\"{}\"}},\"assumedRoleUser\":{{\"assumedRoleId\":\"AROA{session}\",\"arn\":\"arn:aws:sts::{account}:assumed-role/{role}/{session}\"}}}}",
                capitals(&mut self.random, 16),
                self.site.time.format("%b %d, %Y, %I:%M:%S %p")
            ),
            resources: format!(
                "[{{\"accountId\":\"{account}\",\"type\":\"AWS::IAM::Role\",\"ARN\":\"arn:aws:iam::{account}:role/{role}\"}}]"
            ),
            read_only: true,
            ..Call::of("sts", "AssumeRole")
        }
    }

    fn decrypt(&mut self) -> Call {
        let Site { account, region, .. } = self.site;
        let id = self.resource().to_owned();
        let arn = format!("arn:aws:kms:{region}:{account}:key/{id}");
        let context = self.resource();
        Call {
            request: format!(
                "{{\"keyId\":\"{arn}\",\"encryptionAlgorithm\":\"SYMMETRIC_DEFAULT\",\"encryptionContext\":{{\"PARAMETER_ARN\":\"arn:aws:ssm:{region}:{account}:parameter/payments/{context}/database-password\",\"aws:lambda:FunctionArn\":\"arn:aws:lambda:{region}:{account}:function:payments-{context}\"}}}}"
            ),
            resources: format!(
                "[{{\"accountId\":\"{account}\",\"type\":\"AWS::KMS::Key\",\"ARN\":\"{arn}\"}}]"
            ),
            read_only: true,
            ..Call::of("kms", "Decrypt")
        }
    }

    fn log_stream(&mut self) -> Call {
        let day = self.site.time.format("%Y/%m/%d");
        let stream = hex(&mut self.random, 32);
        let request = format!(
            "{{\"logGroupName\":\"/aws/lambda/payments-{}\",\"logStreamName\":\"{day}/[$LATEST]{stream}\"}}",
            self.resource()
        );
        Call { request, ..Call::of("logs", "CreateLogStream") }
    }

    fn start_instances(&mut self) -> Call {
        let Site { account, region, .. } = self.site;
        let (subnet, group, image) =
            (self.resource().to_owned(), self.resource().to_owned(), self.resource().to_owned());
        let (instance, id) = (hex(&mut self.random, 17), uuid(&mut self.random));
        Call {
            request: format!(
                "{{\"instancesSet\":{{\"items\":[{{\"imageId\":\"ami-{image}\",\"minCount\":1,\"maxCount\":1}}]}},\"instanceType\":\"m7g.large\",\"blockDeviceMapping\":{{}},\"monitoring\":{{\"enabled\":false}},\"disableApiTermination\":false,\"networkInterfaceSet\":{{\"items\":[{{\"deviceIndex\":0,\"subnetId\":\"subnet-{subnet}\",\"groupSet\":{{\"items\":[{{\"groupId\":\"sg-{group}\"}}]}}}}]}},\"tagSpecificationSet\":{{\"items\":[{{\"resourceType\":\"instance\",\"tags\":[{{\"key\":\"Name\",\"value\":\"checkout – spot \\\"b\\\"\"}}]}}]}},\"clientToken\":\"{id}\"}}"
            ),
            response: format!(
                "{{\"requestId\":\"{id}\",\"reservationId\":\"r-{group}\",\"ownerId\":\"{account}\",\"groupSet\":{{}},\"instancesSet\":{{\"items\":[{{\"instanceId\":\"i-{instance}\",\"imageId\":\"ami-{image}\",\"instanceState\":{{\"code\":0,\"name\":\"pending\"}},\"keyName\":\"ops\",\"subnetId\":\"subnet-{subnet}\",\"placement\":{{\"availabilityZone\":\"{region}a\",\"tenancy\":\"default\"}},\"monitoring\":{{\"state\":\"disabled\"}}}}]}}}}"
            ),
            ..Call::of("ec2", "RunInstances")
        }
    }
}

/// One call; members are JSON.
struct Call {
    service: &'static str,
    name: &'static str,
    request: String,
    response: String,
    /// A member with its comma, or nothing.
    additional: String,
    resources: String,
    read_only: bool,
    is_data: bool,
}

impl Call {
    fn of(service: &'static str, name: &'static str) -> Self {
        let null = || "null".to_owned();
        Call {
            service,
            name,
            request: null(),
            response: null(),
            additional: String::new(),
            resources: null(),
            read_only: false,
            is_data: false,
        }
    }
}

fn caller(random: &mut Rng, Site { account, time, .. }: Site<'_>) -> Caller {
    let id = capitals(random, 17);
    let key = capitals(random, 16);
    let person = random.choice(PEOPLE).unwrap_or_default();
    let identity = match random.u8(..10) {
        0 => format!(
            "{{\"type\":\"IAMUser\",\"principalId\":\"AIDA{id}\",\"arn\":\"arn:aws:iam::{account}:user/{person}\",\"accountId\":\"{account}\",\"accessKeyId\":\"AKIA{key}\",\"userName\":\"{person}\"}}"
        ),
        1 => "{\"type\":\"AWSService\",\"invokedBy\":\"autoscaling.amazonaws.com\"}".to_owned(),
        _ => {
            let role = random.choice(ROLES).unwrap_or_default();
            let session = format!("i-0{}", hex(random, 16));
            let began = (time - TimeDelta::minutes(random.i64(1..55))).format("%Y-%m-%dT%H:%M:%SZ");
            format!(
                "{{\"type\":\"AssumedRole\",\"principalId\":\"AROA{id}:{session}\",\"arn\":\"arn:aws:sts::{account}:assumed-role/{role}/{session}\",\"accountId\":\"{account}\",\"accessKeyId\":\"ASIA{key}\",\"sessionContext\":{{\"sessionIssuer\":{{\"type\":\"Role\",\"principalId\":\"AROA{id}\",\"arn\":\"arn:aws:iam::{account}:role/{role}\",\"accountId\":\"{account}\",\"userName\":\"{role}\"}},\"attributes\":{{\"creationDate\":\"{began}\",\"mfaAuthenticated\":\"false\"}},\"ec2RoleDelivery\":\"2.0\"}}}}"
            )
        }
    };
    let address = format!("{}.{}.{}.{}", random.u8(3..223), random.u8(..), random.u8(..), random.u8(1..));
    Caller { identity, address, agent: random.choice(AGENTS).unwrap_or_default() }
}

fn text(random: &mut Rng, count: usize, letters: &[u8]) -> String {
    (0..count).map(|_| char::from(letters[random.usize(..letters.len())])).collect()
}

fn letters(random: &mut Rng, count: usize) -> String {
    text(random, count, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
}

fn capitals(random: &mut Rng, count: usize) -> String {
    text(random, count, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
}

fn hex(random: &mut Rng, count: usize) -> String {
    text(random, count, b"0123456789abcdef")
}

fn uuid(random: &mut Rng) -> String {
    let id = random.u128(..);
    let (high, low) = (format!("{:016x}", (id >> 64) as u64), format!("{:016x}", id as u64));
    format!("{}-{}-{}-{}-{}", &high[..8], &high[8..12], &high[12..], &low[..4], &low[4..])
}
