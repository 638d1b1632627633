//! The fields of an AWS WAF record that encoders and filters know.
//!
//! Names and places are those of "Log fields for web ACL traffic" in the AWS WAF developer guide.
//! Its alphabetical list is flat; in the records themselves what tells of the request lies in
//! `httpRequest`.

use super::{Field, fields};

/// Headers whose values let a reader act as the visitor.
pub const SECRET_HEADERS: [&str; 4] = ["Authorization", "Cookie", "X-Amz-Security-Token", "Set-Cookie"];

fields! {
    TIMESTAMP = "timestamp",
    FORMAT_VERSION = "formatVersion",
    WEB_ACL_ID = "webaclId",
    ACTION = "action",
    TERMINATING_RULE_ID = "terminatingRuleId",
    TERMINATING_RULE_TYPE = "terminatingRuleType",
    TERMINATING_RULE_MATCH_DETAILS = "terminatingRuleMatchDetails",
    NON_TERMINATING_MATCHING_RULES = "nonTerminatingMatchingRules",
    RULE_GROUP_LIST = "ruleGroupList",
    RATE_BASED_RULE_LIST = "rateBasedRuleList",
    LABELS = "labels",
    HTTP_SOURCE_NAME = "httpSourceName",
    HTTP_SOURCE_ID = "httpSourceId",
    RESPONSE_CODE_SENT = "responseCodeSent",
    REQUEST_HEADERS_INSERTED = "requestHeadersInserted",
    REQUEST_BODY_SIZE = "requestBodySize",
    REQUEST_BODY_SIZE_INSPECTED = "requestBodySizeInspectedByWAF",
    OVERSIZE_FIELDS = "oversizeFields",
    CLIENT_ASN = "clientAsn",
    FORWARDED_ASN = "forwardedAsn",
    JA3_FINGERPRINT = "ja3Fingerprint",
    JA4_FINGERPRINT = "ja4Fingerprint",
    CF_DISTRIBUTION_TENANT_ID = "cfDistributionTenantId",
    CAPTCHA_RESPONSE_CODE = "captchaResponse.responseCode",
    CAPTCHA_FAILURE_REASON = "captchaResponse.failureReason",
    CHALLENGE_RESPONSE_CODE = "challengeResponse.responseCode",
    CHALLENGE_FAILURE_REASON = "challengeResponse.failureReason",
    CLIENT_IP = "httpRequest.clientIp",
    COUNTRY = "httpRequest.country",
    HEADERS = "httpRequest.headers",
    URI = "httpRequest.uri",
    ARGS = "httpRequest.args",
    FRAGMENT = "httpRequest.fragment",
    SCHEME = "httpRequest.scheme",
    HOST = "httpRequest.host",
    HTTP_METHOD = "httpRequest.httpMethod",
    HTTP_VERSION = "httpRequest.httpVersion",
    REQUEST_ID = "httpRequest.requestId",
}

/// The fields that are lists of named elements, as AWS writes them.
pub const NAMED_LISTS: [Field; 2] = [field::HEADERS, field::LABELS];

/// Paths that no encoder needs.
pub const MORE_PATHS: &[&str] = &[
    "captchaResponse",
    "captchaResponse.solveTimestamp",
    "challengeResponse",
    "challengeResponse.solveTimestamp",
    "excludedRules.*",
    "httpRequest",
    "httpRequest.headers.name",
    "httpRequest.headers.value",
    "labels.name",
    "nonTerminatingMatchingRules.action",
    "nonTerminatingMatchingRules.overriddenAction",
    "nonTerminatingMatchingRules.ruleId",
    "nonTerminatingMatchingRules.ruleMatchDetails.*",
    "rateBasedRuleList.customValues",
    "rateBasedRuleList.customValues.key",
    "rateBasedRuleList.customValues.name",
    "rateBasedRuleList.customValues.value",
    "rateBasedRuleList.evaluationWindowSec",
    "rateBasedRuleList.limitKey",
    "rateBasedRuleList.limitValue",
    "rateBasedRuleList.maxRateAllowed",
    "rateBasedRuleList.rateBasedRuleId",
    "rateBasedRuleList.rateBasedRuleName",
    "requestHeadersInserted.name",
    "requestHeadersInserted.value",
    "ruleGroupList.excludedRules.*",
    "ruleGroupList.nonTerminatingMatchingRules.*",
    "ruleGroupList.ruleGroupId",
    "ruleGroupList.terminatingRule",
    "ruleGroupList.terminatingRule.action",
    "ruleGroupList.terminatingRule.ruleId",
    "ruleGroupList.terminatingRule.ruleMatchDetails.*",
    "terminatingRuleMatchDetails.conditionType",
    "terminatingRuleMatchDetails.location",
    "terminatingRuleMatchDetails.matchedData",
    "terminatingRuleMatchDetails.matchedFieldName",
    "terminatingRuleMatchDetails.sensitivityLevel",
];
