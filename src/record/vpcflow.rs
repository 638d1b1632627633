//! The fields of VPC flow records: those of versions 2 to 11, and of transit gateways.
//!
//! Names are those of text headers (VPC user guide, "Flow log records", and transit gateway
//! guide, "Transit Gateway Flow Log records"). A column that is not here is kept by its name.

use std::borrow::Cow;

use super::Field;

/// Numbers the fields in the order of the table.
macro_rules! fields {
    ($($constant:ident = $name:literal,)*) => {
        /// The name of each field, indexed by [`Field`].
        pub const NAMES: &[&str] = &[$($name),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "only numbers the fields")]
        #[repr(u8)]
        enum Number { $($constant),* }

        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: Field = Field(Number::$constant as u8);
        )*
    };
}

fields! {
    // version 2, the default format
    VERSION = "version",
    ACCOUNT_ID = "account-id",
    INTERFACE_ID = "interface-id",
    SRCADDR = "srcaddr",
    DSTADDR = "dstaddr",
    SRCPORT = "srcport",
    DSTPORT = "dstport",
    PROTOCOL = "protocol",
    PACKETS = "packets",
    BYTES = "bytes",
    START = "start",
    END = "end",
    ACTION = "action",
    LOG_STATUS = "log-status",
    // version 3
    VPC_ID = "vpc-id",
    SUBNET_ID = "subnet-id",
    INSTANCE_ID = "instance-id",
    TCP_FLAGS = "tcp-flags",
    TYPE = "type",
    PKT_SRCADDR = "pkt-srcaddr",
    PKT_DSTADDR = "pkt-dstaddr",
    // version 4
    REGION = "region",
    AZ_ID = "az-id",
    SUBLOCATION_TYPE = "sublocation-type",
    SUBLOCATION_ID = "sublocation-id",
    // version 5
    PKT_SRC_AWS_SERVICE = "pkt-src-aws-service",
    PKT_DST_AWS_SERVICE = "pkt-dst-aws-service",
    FLOW_DIRECTION = "flow-direction",
    TRAFFIC_PATH = "traffic-path",
    // version 6, transit gateways
    RESOURCE_TYPE = "resource-type",
    TGW_ID = "tgw-id",
    TGW_ATTACHMENT_ID = "tgw-attachment-id",
    TGW_SRC_VPC_ACCOUNT_ID = "tgw-src-vpc-account-id",
    TGW_DST_VPC_ACCOUNT_ID = "tgw-dst-vpc-account-id",
    TGW_SRC_VPC_ID = "tgw-src-vpc-id",
    TGW_DST_VPC_ID = "tgw-dst-vpc-id",
    TGW_SRC_SUBNET_ID = "tgw-src-subnet-id",
    TGW_DST_SUBNET_ID = "tgw-dst-subnet-id",
    TGW_SRC_ENI = "tgw-src-eni",
    TGW_DST_ENI = "tgw-dst-eni",
    TGW_SRC_AZ_ID = "tgw-src-az-id",
    TGW_DST_AZ_ID = "tgw-dst-az-id",
    TGW_PAIR_ATTACHMENT_ID = "tgw-pair-attachment-id",
    PACKETS_LOST_NO_ROUTE = "packets-lost-no-route",
    PACKETS_LOST_BLACKHOLE = "packets-lost-blackhole",
    PACKETS_LOST_MTU_EXCEEDED = "packets-lost-mtu-exceeded",
    PACKETS_LOST_TTL_EXPIRED = "packets-lost-ttl-expired",
    // version 7
    ECS_CLUSTER_ARN = "ecs-cluster-arn",
    ECS_CLUSTER_NAME = "ecs-cluster-name",
    ECS_CONTAINER_INSTANCE_ARN = "ecs-container-instance-arn",
    ECS_CONTAINER_INSTANCE_ID = "ecs-container-instance-id",
    ECS_CONTAINER_ID = "ecs-container-id",
    ECS_SECOND_CONTAINER_ID = "ecs-second-container-id",
    ECS_SERVICE_NAME = "ecs-service-name",
    ECS_TASK_DEFINITION_ARN = "ecs-task-definition-arn",
    ECS_TASK_ARN = "ecs-task-arn",
    ECS_TASK_ID = "ecs-task-id",
    // versions 8, 9 and 10
    REJECT_REASON = "reject-reason",
    RESOURCE_ID = "resource-id",
    ENCRYPTION_STATUS = "encryption-status",
    // version 11
    INSTANCE_TAG = "instance-tag",
    INSTANCE_TAG_2 = "instance-tag-2",
    INTERFACE_TAG = "interface-tag",
    INTERFACE_TAG_2 = "interface-tag-2",
    ASG_TAG = "asg-tag",
    ASG_TAG_2 = "asg-tag-2",
    INTERFACE_TYPE = "interface-type",
    NEXT_HOP_INTERFACE_ID = "next-hop-interface-id",
    NEXT_HOP_SUBNET_ID = "next-hop-subnet-id",
    NEXT_HOP_AZ_ID = "next-hop-az-id",
    NEXT_HOP_VPC_ID = "next-hop-vpc-id",
    NEXT_HOP_INTERFACE_TYPE = "next-hop-interface-type",
}

/// Whether the values of a field are tags, which AWS writes percent-encoded.
pub fn is_tag(field: Field) -> bool {
    const TAGS: [Field; 6] =
        [INSTANCE_TAG, INSTANCE_TAG_2, INTERFACE_TAG, INTERFACE_TAG_2, ASG_TAG, ASG_TAG_2];
    TAGS.contains(&field)
}

/// What percent-encoded UTF-8 stands for; the value itself when it stands for no text.
pub fn percent_decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let digit = |at: usize| value.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let (mut decoded, mut at) = (Vec::with_capacity(value.len()), 0);
    while let Some(&byte) = value.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    if std::str::from_utf8(&decoded).is_ok() { Cow::Owned(decoded) } else { Cow::Borrowed(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_names_stand_in_one_order() {
        for (field, name) in [
            (VERSION, "version"),
            (LOG_STATUS, "log-status"),
            (ECS_TASK_ID, "ecs-task-id"),
            (NEXT_HOP_INTERFACE_TYPE, "next-hop-interface-type"),
        ] {
            assert_eq!(NAMES[usize::from(field.0)], name);
        }
        let mut distinct = NAMES.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), NAMES.len());
    }
}
