"""Makes an account in moto: the bucket `acme` and, with a file of policies, a user and two roles.

The user `s3sweep` may take on the role `hop`, and that one the role `logs`, which asks for an
external id. The file holds the document of each, as `s3sweep init --policy` prints it. From then on moto looks at signatures and policies. Prints the user's access key id and secret.
"""

import json
import sys
import urllib.request

import boto3

ACCOUNT = "arn:aws:iam::123456789012"
URL = sys.argv[1]


def client(service):
    return boto3.client(
        service, endpoint_url=URL, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def trust(conditions):
    # moto knows no principal but everybody
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole", **conditions}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


s3 = client("s3")
s3.create_bucket(Bucket="acme")
for key in ("logs/one.json", "private/one.json"):
    s3.put_object(Bucket="acme", Key=key, Body=b'{"t":"2024-05-01T06:00:00Z"}\n')

iam = client("iam")
iam.create_user(UserName="s3sweep")
key = iam.create_access_key(UserName="s3sweep")["AccessKey"]
iam.create_role(RoleName="hop", AssumeRolePolicyDocument=trust({}))
external = {"Condition": {"StringEquals": {"sts:ExternalId": "hush-external"}}}
iam.create_role(RoleName="logs", AssumeRolePolicyDocument=trust(external))
if sys.argv[2:]:
    with open(sys.argv[2], encoding="utf-8") as file:
        policies = json.load(file)["identity_policies"]
    for name, policy in policies.items():
        document = {"PolicyName": "own", "PolicyDocument": json.dumps(policy)}
        if name.startswith("arn:"):
            iam.put_role_policy(RoleName=name.rpartition("/")[2], **document)
        else:
            iam.put_user_policy(UserName="s3sweep", **document)
    request = urllib.request.Request(URL + "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
    urllib.request.urlopen(request).read()
print(key["AccessKeyId"], key["SecretAccessKey"])
