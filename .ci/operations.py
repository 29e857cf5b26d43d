"""The deployment check's tests of the operators' tools: preflight, smoke test, rotation, restore, KMS keys, and the
pipeline's roles under the control of hostile code."""

import contextlib
import http.server
import json
import re
import subprocess
import sys
import threading

import botocore.exceptions
from samcli.yamlhelper import yaml_parse

from harness import WORKSPACE, check, step, wait_until


def tool(emulator, name, *arguments, **variables):
    """Runs a tool of infra/ with the interpreter that has boto3; returns its exit code and output."""
    process = subprocess.run(
        [sys.executable, WORKSPACE / "infra" / name, *arguments], cwd=WORKSPACE, env=emulator.environment | variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    return process.returncode, process.stdout


@contextlib.contextmanager
def answering(content_type, body):
    """Runs a service of AWS that answers every request with this body."""

    class Service(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def preflight(emulator):
    step("infra/preflight")

    code, printed = tool(emulator, "preflight", "staging")
    check("ok: account 000000000000" in printed and "idling will cost" in printed, "it looks at the account")
    check(code == 0 and "PROBLEM" not in printed, "nothing stands in the way")
    emulator.client("cloudformation").create_stack(StackName="gatehouse-staging", TemplateBody=json.dumps({
        "Resources": {"Impossible": {"Type": "AWS::SSM::Parameter", "Properties": {
            "Type": "String", "Value": "{{resolve:secretsmanager:no-such-secret}}"}}}}))
    wait_until("a deployment fails", lambda: emulator.stack("gatehouse-staging")["StackStatus"] == "ROLLBACK_COMPLETE")
    code, printed = tool(emulator, "preflight", "staging")
    check(code == 1 and "ROLLBACK_COMPLETE: delete it first" in printed, "it says what does")
    emulator.delete_stack("gatehouse-staging")

    limits = json.dumps({"AccountLimit": {"ConcurrentExecutions": 10}, "Functions": []})
    with answering("application/json", limits) as url:
        code, printed = tool(emulator, "preflight", "staging", AWS_ENDPOINT_URL_LAMBDA=url)
    check(code == 1 and "PROBLEM: the account has 10 concurrent executions" in printed, "a new account needs more of Lambda")
    deleting = (
        '<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult><Stacks>'
        "<member><StackName>gatehouse-staging</StackName><StackStatus>DELETE_IN_PROGRESS</StackStatus></member>"
        "</Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )
    with answering("text/xml", deleting) as url:
        code, printed = tool(emulator, "preflight", "staging", AWS_ENDPOINT_URL_CLOUDFORMATION=url)
    check(code == 1 and "is DELETE_IN_PROGRESS: wait for its end" in printed, "a stack of the same name must be gone first")


def smoke(environment):
    step("infra/smoke")
    code, printed = tool(environment.emulator, "smoke", environment.url)
    check(code == 0, "it finds nothing wrong" if not code else printed)
    code, printed = tool(environment.emulator, "smoke", f"{environment.url}/elsewhere")
    check(code == 1 and "404" in printed, "where there is no system, it says so")


def rotate_step(emulator, stack, *arguments):
    """Runs one step as docs/operations.md describes it; returns the parameter that it prints."""
    code, printed = tool(emulator, "rotate-secret", stack, *arguments)
    check(code == 0, f"infra/rotate-secret {arguments[0]}" if not code else printed)
    return dict([re.search(r"--parameter-overrides (\S+)=(\S+)", printed).groups()])


def rotate(environment, *secrets):
    before = environment.public_keys()
    for at in ["announced", "used"]:
        if at == "used" and "SigningKey" in secrets:
            code, printed = tool(environment.emulator, "rotate-secret", environment.stack, *secrets)
            check(code == 1 and "Run this again in 13" in printed, "services get the time to fetch the next key")
            next_key = environment.public_keys()[1]
            check(environment.public_keys() == [before[0], next_key, *before[1:2]], "which is published beside the others")
        step = rotate_step(environment.emulator, environment.stack, *secrets, "--do-not-wait")
        code, printed = tool(environment.emulator, "rotate-secret", environment.stack, *secrets)
        check(code == 1 and f"SecretsVersion={step['SecretsVersion']}" in printed, "no further step before the deployment")
        environment.deploy(**step)
    if "SigningKey" in secrets:
        check(environment.public_keys() == [next_key, before[0]], "it is used, and the one before it still published")


def origin_secret_is_replaced(dev):
    """Replaces CloudFront's secret. Of its stack, the emulator has only the secret: its requests are simulated here."""
    step("CloudFront's secret is replaced")
    emulator = dev.emulator
    edge = yaml_parse((WORKSPACE / "infra/edge.yaml").read_text())
    secret = edge["Resources"]["OriginVerifySecret"]
    secret["Properties"].pop("ReplicaRegions")
    origin = edge["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["Origins"][0]
    header = origin["OriginCustomHeaders"][0]["HeaderValue"]
    name = f"{dev.stack}-edge"

    def deploy_edge(action, **parameters):
        getattr(emulator.client("cloudformation"), action)(
            StackName=name,
            TemplateBody=json.dumps({
                "Parameters": {name: edge["Parameters"][name] for name in ("OriginVerifyVersion", "KmsKeyArn")},
                "Conditions": {"HasKey": edge["Conditions"]["HasKey"]},
                "Resources": {
                    "OriginVerifySecret": secret,
                    "Header": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Name": "sent", "Value": header}},
                },
            }),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        wait_until(f"{name} is deployed", lambda: emulator.stack(name)["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"))

    def sent():
        value = emulator.client("ssm").get_parameter(Name="sent")["Parameter"]["Value"]
        return {"x-origin-verify": value, "cloudfront-viewer-address": "198.51.100.1:1"}

    def version(number):
        values = json.loads(emulator.client("secretsmanager").get_secret_value(SecretId=f"{name}-origin-verify")["SecretString"])
        return {"x-origin-verify": values[number]}

    def status(headers):
        return dev.call("POST", "/api/auth/login", {}, headers=headers)[0]

    deploy_edge("create_stack")
    dev.deploy(OriginVerifySecretName=f"{name}-origin-verify")
    old = sent()
    check(status({}) == 403 and status(old) == 400, "what comes from CloudFront is served, and nothing else")
    check(status({"x-origin-verify": "none"}) == 403, "the place of the other version lets nobody in")
    first = rotate_step(emulator, dev.stack, "OriginVerifySecret")
    check(first == {"OriginVerifyVersions": "1,2"}, "first the functions learn the new one")
    check(rotate_step(emulator, dev.stack, "OriginVerifySecret") == first, "which it says again until they have")
    dev.deploy(**first)
    new = version("2")
    check(status(old) == 400 and status(new) == 400, "both are served")
    second = rotate_step(emulator, dev.stack, "OriginVerifySecret")
    check(second == {"OriginVerifyVersion": "2"}, "then CloudFront sends it")
    deploy_edge("update_stack", **second)
    check(sent()["x-origin-verify"] == new["x-origin-verify"], "which it does")
    check(status(old) == 400 and status(sent()) == 400, "what is on its way with the old one is served as well")
    dev.deploy(**rotate_step(emulator, dev.stack, "OriginVerifySecret"))
    check(status(old) == 403 and status(new) == 400, "with the next replacement the old one ends")
    dev.deploy(OriginVerifySecretName="")
    emulator.delete_stack(name)


def restore(dev, email):
    """Restores the tables, as far as the emulator can: it restores their present content, whatever the moment."""
    step("infra/restore")
    emulator = dev.emulator
    dynamodb = emulator.client("dynamodb")
    before = {kind: dev.outputs()[kind] for kind in ("UsersTable", "CredentialsTable")}
    code, printed = tool(emulator, "restore", dev.stack)
    check(code == 1 and "PointInTimeRecovery is off" in printed, "without backups it says so")
    for table in before.values():
        dynamodb.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    code, printed = tool(emulator, "restore", dev.stack, "--at", "2020-01-01T00:00:00Z")
    check(code == 1 and "only moments from" in printed, "not every moment can be had")
    code, printed = tool(emulator, "restore", dev.stack)
    check(code == 0, "two tables are restored" if not code else printed)
    moment = re.search(r"--at (\S+)", printed)[1]
    parameters = dict(re.findall(r'"(\w+)=(\S+)",', printed))
    code, again = tool(emulator, "restore", dev.stack, "--at", moment)
    check(code == 0 and again.count("is there already") == 2, "run again, it goes on where it was" if not code else again)
    users = dynamodb.describe_table(TableName=parameters["UsersTableName"])["Table"]
    check(users["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE", "mails will be sent from its stream")
    for name in (parameters["UsersTableName"], parameters["CredentialsTableName"]):
        ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        check(ttl["TimeToLiveStatus"] == "ENABLED" and ttl["AttributeName"] == "ttl", f"what expires goes from {name}")
        table = dynamodb.describe_table(TableName=name)["Table"]
        check(table["DeletionProtectionEnabled"], "it is protected from deletion")

    step("the stack takes the restored tables on")
    dev.deploy(**parameters)
    check(dev.outputs()["UsersTable"] == parameters["UsersTableName"], "they are its tables")
    check(dev.login(email)[0] == 200, "whoever registered before signs in")
    newcomer, _ = dev.register()
    claim = {"pk": {"S": f"EMAIL#{newcomer}"}, "sk": {"S": "CLAIM"}}
    check("Item" in dynamodb.get_item(TableName=parameters["UsersTableName"], Key=claim), "who comes now is in them")
    wait_until("and gets a mail", lambda: [mail for mail in emulator.mails() if newcomer in mail["To"]])
    return before | parameters


def restore_deleted(emulator, tables):
    """Restores deleted tables from DynamoDB's backup; the emulator makes none on deletion, so it is made here."""
    step("infra/restore, of tables that were deleted")
    dynamodb = emulator.client("dynamodb")
    for table in tables:
        dynamodb.create_backup(TableName=table, BackupName="made-when-it-was-deleted")
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=table)
    code, printed = tool(emulator, "restore", "gone")
    check(code == 1 and "there is no stack gone" in printed, "without a stack it asks for the tables")
    code, printed = tool(emulator, "restore", "gone", "--at", "2026-11-27T10:00:00Z", "--tables", *tables)
    check(code == 1 and "leave --at out" in printed, "a deleted table comes back as it was then, and at no other moment")
    code, printed = tool(emulator, "restore", "gone", "--tables", *tables)
    check(code == 0 and "UsersTableName=gone-users-" in printed, "they are restored" if not code else printed)
    for name in re.findall(r'TableName=(\S+)",', printed):
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=name)


def secret_that_leaked(dev, email):
    step("a secret that somebody else has learned")
    code, printed = tool(dev.emulator, "rotate-secret", dev.stack, "DataEncryptionKey", "--at-once")
    check(code == 1 and "only in two steps" in printed, "the key of the second factors is not thrown away")
    answer = dev.login(email)[1]
    dev.deploy(**rotate_step(dev.emulator, dev.stack, "SigningKey", "JwtRefreshSecret", "--at-once"))
    status, _ = dev.call("GET", "/api/auth/profile", access=answer["accessToken"])
    check(status == 401, "an access token of before is void")
    status, _ = dev.call("POST", "/api/auth/refresh", {"refreshToken": answer["refreshToken"]})
    check(status == 401, "a refresh token, too")
    check(dev.login(email)[0] == 200, "whoever signs in anew is served")


def secret_of_an_earlier_stack(dev, email):
    step("a key that an earlier stack has left behind")
    manager = dev.emulator.client("secretsmanager")
    made = dev.emulator.client("lambda").invoke(FunctionName=dev.outputs()["SigningKeyMaker"], Payload=b"{}")
    key = json.load(made["Payload"])
    value = {"private": key["private"], "public": json.dumps({"keys": [key["public"]]})}
    left = manager.create_secret(Name="left-behind", SecretString=json.dumps(value))["ARN"]
    dev.deploy(**rotate_step(dev.emulator, dev.stack, "SigningKey", "--from", left))
    stored = manager.get_secret_value(SecretId=dev.outputs()["SigningKey"])["SecretString"]
    check(json.loads(stored) == value, "its value is the stack's")
    status, answer = dev.login(email)
    profile = dev.call("GET", "/api/auth/profile", access=answer["accessToken"])
    check(status == 200 and profile[0] == 200, "and the functions'")
    check([key["n"] for key in dev.public_keys()] == [key["public"]["n"]], "it alone is published")


def infrastructure(emulator):
    step("network, a key and a cache of one node, by themselves")
    deploy = ["sam", "deploy", "--resolve-s3", "--capabilities", "CAPABILITY_IAM"]

    def put(name, *parameters):
        command = [*deploy, "--template-file", f"infra/{name}.yaml", "--stack-name", f"check-{name}"]
        command += ["--parameter-overrides", *parameters] if parameters else []
        done = emulator.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 0, f"infra/{name}.yaml" if not done.returncode else done.stdout)
        return emulator.outputs(f"check-{name}")

    network, key = put("network", "SigningKeyStore=kms"), put("key")["KmsKeyArn"]
    emulator.client("logs").create_log_group(logGroupName="check-functions")
    parameters = [
        "Environment=prod", "System=check", "Cache=node", f"KmsKeyArn={key}", "FunctionLogs=check-functions",
        f"SubnetIds={network['SubnetIds']}", f"CacheSecurityGroup={network['CacheSecurityGroup']}",
    ]
    data = put("data", *parameters)
    check(data["CacheAddress"], "the cache has an address")
    table = emulator.client("dynamodb").describe_table(TableName=data["CredentialsTable"])["Table"]
    check(table["DeletionProtectionEnabled"], "in prod the tables are protected from deletion")
    secret = emulator.client("secretsmanager").describe_secret(SecretId=data["DataEncryptionKey"])
    check(secret["KmsKeyId"] == key, "the secrets are encrypted by the key")

    step("the cache's password is replaced")

    def passwords():
        users = emulator.client("elasticache").describe_users(UserId="check-functions")["Users"]
        return users[0]["Authentication"]["PasswordCount"]

    def secret_value():
        value = emulator.client("secretsmanager").get_secret_value(SecretId=data["CachePassword"])["SecretString"]
        return json.loads(value)

    first = secret_value()["current"]
    check(passwords() == 1, "at first the cache takes one")
    for expected in ["announced", "used"]:
        label = rotate_step(emulator, "check-data", "CachePassword")
        put("data", *parameters, *[f"{name}={value}" for name, value in label.items()])
        check(passwords() == 2, f"while the new one is {expected}, it takes two")
        check(first in (secret_value()["current"], secret_value()["previous"]), "and the old one is among them")
    check(secret_value()["current"] != first, "the new one is used")

    emulator.delete_stack("check-data")
    left = emulator.client("dynamodb").list_tables()["TableNames"]
    check({data["UsersTable"], data["CredentialsTable"]} <= set(left), "the tables outlive their stack")
    for name in ("SigningKey", "JwtRefreshSecret", "GuardSecret", "EmailTokenSecret", "DataEncryptionKey"):
        check(emulator.client("secretsmanager").describe_secret(SecretId=data[name]), f"so does {name}")
    restore_deleted(emulator, [data["UsersTable"], data["CredentialsTable"]])


def hostile_preview(dev):
    """Checks the limits of the role that deploys previews: anybody who may push a branch can run code with it."""
    step("a preview whose code is hostile")
    emulator = dev.emulator
    deploy = ["sam", "deploy", "--config-env", "pipeline-preview", "--no-confirm-changeset"]
    done = emulator.run(*deploy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, "infra/pipeline.yaml" if not done.returncode else done.stdout)
    outputs = emulator.outputs("pipeline-gatehouse-preview")
    iam = emulator.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})

    def assume(arn):
        """Assumes a role as CloudFormation or Lambda does, which alone may assume it."""
        name = arn.rsplit("/")[-1]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        keys = emulator.client("sts").assume_role(RoleArn=arn, RoleSessionName="hostile")["Credentials"]
        return {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }

    def refused(what, call, **arguments):
        try:
            call(**arguments)
        except botocore.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            return check(code.startswith(("AccessDenied", "NotAuthorized", "AuthorizationError")), f"{what}: {code}")
        raise SystemExit(f"not so: {what} is refused")

    keys = assume(outputs["ExecutionRole"])
    acting = lambda service: emulator.client(service, **keys)
    everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    table = {"AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST",
             "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}
    acting("dynamodb").create_table(TableName="gatehouse-pr-1-any", **table)
    tags = [{"Key": "Environment", "Value": "preview"}]
    acting("secretsmanager").create_secret(Name="any", SecretString="any", Tags=tags)
    check(acting("secretsmanager").get_secret_value(SecretId="any")["SecretString"] == "any", "it makes what is a preview's")
    refused("a table of no preview", acting("dynamodb").create_table, TableName="gatehouse-dev-any", **table)
    refused("dev's secrets", acting("secretsmanager").get_secret_value, SecretId=dev.outputs()["SigningKey"])
    refused("a secret for dev", acting("secretsmanager").create_secret, Name="more", SecretString="any",
            Tags=[{"Key": "Environment", "Value": "dev"}])
    refused("dev's tables", acting("dynamodb").delete_table, TableName=dev.outputs()["UsersTable"])
    refused("dev's users", acting("dynamodb").scan, TableName=dev.outputs()["UsersTable"])
    refused("dev's functions", acting("lambda").delete_function, FunctionName=f"{dev.stack}-login")
    refused("dev's artifacts", acting("s3").put_object, Bucket=emulator.bucket(), Key="any", Body=b"any")
    refused("the pipeline's own role", acting("iam").put_role_policy, RoleName=outputs["Role"].rsplit("/")[-1],
            PolicyName="any", PolicyDocument=everything)

    # The account's owner creates the role: the emulator does not support the condition under which a preview may.
    iam.create_role(RoleName="gatehouse-pr-1-any", AssumeRolePolicyDocument=trust, PermissionsBoundary=outputs["PermissionsBoundary"])
    iam.put_role_policy(RoleName="gatehouse-pr-1-any", PolicyName="any", PolicyDocument=everything)
    keys_of_function = assume("role/gatehouse-pr-1-any")
    their = lambda service: emulator.client(service, **keys_of_function)
    key = {"pk": {"S": "USER#1"}}
    their("dynamodb").get_item(TableName="gatehouse-pr-1-any", Key=key)
    check(True, "a function that is given every right there is reads a preview's tables")
    refused("not dev's", their("dynamodb").get_item, TableName=dev.outputs()["UsersTable"], Key=key | {"sk": {"S": "PROFILE"}})
    refused("no secret", their("secretsmanager").get_secret_value, SecretId="any")
    refused("no role", their("iam").create_role, RoleName="gatehouse-pr-1-more", AssumeRolePolicyDocument=trust)
    iam.delete_role_policy(RoleName="gatehouse-pr-1-any", PolicyName="any")
    iam.delete_role(RoleName="gatehouse-pr-1-any")
