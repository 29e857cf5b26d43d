"""The deployment check: the real SAM CLI deploys this workspace to an emulator that enforces IAM, and the
project's own end-to-end tests run against what came of it.

    .ci/deployment             everything
    .ci/deployment --no-build  with what `sam build` made last

What the emulator (ministack) cannot do, and what stands in for it:
- It translates no nested template of SAM's: the functions' is translated here, by SAM's own translator. What an
  update of a nested stack forgets, `.ci/emulator.py` puts right.
- It does not import an HTTP API's routes: they are created from the built template.
- It has no ElastiCache that answers, and no serverless one at all: the systems are given a Redis
  (`Cache=none`); network and a cache of one node are deployed by themselves.
- It knows neither `dynamodb:LeadingKeys` nor `ses:FromAddress`: here a role is held to actions and tables,
  in the local stack also to keys (tests/policies.rs). That there must be keys (`Null`) is taken out.
- It does not know which identity a mail is sent from when it asks a role about it: the mailer's role is
  given `ses:SendEmail` at all of them beside its own policy. The other roles are given nothing.
- It takes a batch of a stream for done that was done in part: what failed is handed over again here, as
  Lambda does (in the local stack it comes again by itself: tests/mailer.rs).
- It tells no topic what became of a mail: the event is published here, in SES' words.
- Its buckets have addresses that `sam delete` cannot read: the stacks are deleted by CloudFormation. With a
  nested stack it deletes what the template retains: that is shown with `data` by itself.
- It has no CodeDeploy and so no canary: prod's own part is checked by cfn-lint alone. So are `edge` and
  `pipeline`, of which it lacks resource types.
The functions are built without link-time optimisation, which takes longer than all else and changes nothing
that is checked here.
"""

import argparse
import contextlib
import http.server
import json
import logging
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request

import boto3
import samtranslator.translator.transform
from samcli.yamlhelper import yaml_dump, yaml_parse

WORKSPACE = pathlib.Path(__file__).resolve().parent.parent
BUILT = WORKSPACE / ".aws-sam/build/template.yaml"
TRANSLATED = BUILT.with_name("translated.yaml")
BUILT_FUNCTIONS = WORKSPACE / ".aws-sam/build/Functions/template.yaml"
REGION = "us-east-1"
# What the mailer's role is given beside its own policy; why is said above.
ANY_IDENTITY = "stand-in-any-identity"
ANY_IDENTITY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ses:SendEmail", "Resource": "*"}],
}
PASSWORD = "Correct-7-horse-" + secrets.token_hex(4)
# Tests hash more often than a shared machine likes.
CHEAP_HASHES = ["Argon2MemoryKib=1024", "Argon2Iterations=1", "Argon2Parallelism=1"]


def step(text):
    print(f"\n== {text}", flush=True)


def check(holds, what):
    if not holds:
        raise SystemExit(f"not so: {what}")
    print(f"ok: {what}", flush=True)


def wait_until(what, holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.2)
    print(f"ok: {what}", flush=True)
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment_without_aws():
    """This process's variables: whatever AWS account this machine is signed in to stays out of it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@contextlib.contextmanager
def child(command, **options):
    """A process in a group of its own, which is asked to end with the block and, if it stays, killed."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


class Emulator:
    """AWS, as far as this check needs it."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "emulator.log"
        self.environment = environment_without_aws() | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "SAM_CLI_TELEMETRY": "0",
        }
        # A function's environment has AWS_REGION and keys of its role from Lambda alone.
        self.own_environment = self.environment | {
            "AUTH": "true",
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "TMPDIR": str(folder),
            "LOG_LEVEL": "WARNING",
        }

    @contextlib.contextmanager
    def running(self):
        command = [WORKSPACE / "target/ci-emulator/bin/python", WORKSPACE / ".ci/emulator.py"]
        with open(self.log, "wb") as log, child(command, env=self.own_environment, stdout=log, stderr=log):
            wait_until("the emulator answers", self.is_ready)
            yield self

    def is_ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/_ministack/health").status == 200

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def stack(self, name):
        return self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]

    def outputs(self, stack):
        return {output["OutputKey"]: output["OutputValue"] for output in self.stack(stack).get("Outputs", [])}

    def delete_stack(self, name):
        cloudformation = self.client("cloudformation")
        cloudformation.delete_stack(StackName=name)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 60}
        )

    def mails(self):
        with urllib.request.urlopen(f"{self.url}/_ministack/ses/messages") as answer:
            accounts = json.load(answer)["messages"]
        return [mail for mails in accounts.values() for mail in mails]

    def run(self, *command, **options):
        return subprocess.run(command, cwd=WORKSPACE, env=self.environment, **options)


class Inbox(http.server.BaseHTTPRequestHandler):
    """The emulator's mails as `cargo local` shows them at /_local/mail, for the tests."""

    emulator = None

    def do_GET(self):
        mails = [
            {
                "id": mail["MessageId"],
                "to": mail["To"],
                "from": mail["Source"],
                "subject": mail["Subject"],
                "text": mail["BodyText"],
                "html": mail["BodyHtml"],
                "sentAt": str(mail["Timestamp"]),
            }
            for mail in reversed(self.emulator.mails())
        ]
        body = json.dumps(mails).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def inbox(emulator):
    handler = type("EmulatorInbox", (Inbox,), {"emulator": emulator})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@contextlib.contextmanager
def redis(folder):
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if not server:
        raise SystemExit("neither valkey-server nor redis-server is installed")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with child(command, stdout=subprocess.DEVNULL):
        yield f"redis://127.0.0.1:{port}"


class Environment:
    """One of samconfig.toml's, deployed."""

    def __init__(self, emulator, name, redis_url, parameters):
        self.emulator, self.name = emulator, name
        self.stack = f"gatehouse-{name}"
        config = tomllib.loads((WORKSPACE / "samconfig.toml").read_text())
        given = dict(pair.split("=", 1) for pair in config[name]["deploy"]["parameters"]["parameter_overrides"])
        given |= {"Cache": "none", "RedisUrl": redis_url}
        self.parameters = given | dict(pair.split("=", 1) for pair in parameters)
        self.url = None

    def deploy(self, template=TRANSLATED, may_fail=False, **changes):
        """`sam deploy --config-env <name>`; what it printed."""
        self.parameters |= changes
        overrides = [f"{name}={value}" for name, value in self.parameters.items()]
        command = ["sam", "deploy", "--config-file", str(WORKSPACE / "samconfig.toml"), "--config-env", self.name]
        command += ["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", *overrides]
        command += ["--template-file", str(template)]
        done = self.emulator.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode and not may_fail:
            print(done.stdout)
            raise SystemExit(f"sam deploy --config-env {self.name} failed")
        if not may_fail:
            self.make_routes()
            policy = json.dumps(ANY_IDENTITY_POLICY)
            iam = self.emulator.client("iam")
            iam.put_role_policy(RoleName=self.role("mailer"), PolicyName=ANY_IDENTITY, PolicyDocument=policy)
        return done.stdout

    def role(self, function):
        configuration = self.emulator.client("lambda").get_function_configuration(
            FunctionName=f"{self.stack}-{function}"
        )
        return configuration["Role"].rsplit("/", 1)[-1]

    def outputs(self):
        return self.emulator.outputs(self.stack)

    def status(self):
        return self.emulator.stack(self.stack)["StackStatus"]

    def make_routes(self):
        """What API Gateway would have read out of the API's OpenAPI body: routes, integrations, CORS."""
        gateway = self.emulator.client("apigatewayv2")
        api = self.outputs()["ApiDomain"].split(".")[0]
        self.url = f"{self.emulator.url}/_aws/execute-api/{api}/$default"
        existing = {route["RouteKey"] for route in gateway.get_routes(ApiId=api, MaxResults="500")["Items"]}
        functions = self.emulator.client("lambda")
        resources = yaml_parse(BUILT_FUNCTIONS.read_text())["Resources"]
        for name, resource in resources.items():
            events = resource.get("Properties", {}).get("Events", {}).values()
            routes = [event["Properties"] for event in events if event["Type"] == "HttpApi"]
            if not routes:
                continue
            function = f"{self.stack}-{re.sub(r'(?<!^)(?=[A-Z])', '-', name).lower()}"
            arn = functions.get_alias(FunctionName=function, Name="live")["AliasArn"]
            integration = None
            for route in routes:
                key = f"{route['Method'].upper()} {route['Path']}"
                if key in existing:
                    continue
                integration = integration or gateway.create_integration(
                    ApiId=api,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=arn,
                    PayloadFormatVersion="2.0",
                )
                target = f"integrations/{integration['IntegrationId']}"
                gateway.create_route(ApiId=api, RouteKey=key, Target=target)
        origins = self.parameters["AllowedOrigins"].split(",")
        cors = resources["Api"]["Properties"]["CorsConfiguration"]
        gateway.update_api(ApiId=api, CorsConfiguration=cors | {"AllowOrigins": origins})

    def call(self, method, path, body=None, access=None):
        headers = {"content-type": "application/json"}
        if access:
            headers["authorization"] = f"Bearer {access}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def register(self):
        email = f"ada-{secrets.token_hex(6)}@example.com"
        status, answer = self.call("POST", "/api/auth/register", {"email": email, "password": PASSWORD})
        check(status == 201, f"{self.name}: somebody registers ({status})")
        return email, answer

    def login(self, email):
        return self.call("POST", "/api/auth/login", {"email": email, "password": PASSWORD})

    def logged(self, text):
        logs = self.emulator.client("logs")
        group = f"/gatehouse/{self.stack}/functions"
        return logs.filter_log_events(logGroupName=group, filterPattern=f'"{text}"')["events"]


def build(emulator):
    step("sam build")
    # Faster to build; what is deployed for good is built as Cargo.toml says.
    emulator.environment["CARGO_PROFILE_RELEASE_LTO"] = "off"
    emulator.environment["CARGO_PROFILE_RELEASE_CODEGEN_UNITS"] = "16"
    done = emulator.run("sam", "build", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(done.stdout)
    check(BUILT.exists(), "every function is built")


def translated(emulator):
    """The built template, with the functions' in plain CloudFormation beside it."""
    step("the functions' template, packaged and translated")
    packaged = BUILT_FUNCTIONS.with_name("packaged.yaml")
    command = ["sam", "package", "--template-file", str(BUILT_FUNCTIONS), "--resolve-s3", "--no-progressbar"]
    done = emulator.run(*command, "--output-template-file", str(packaged), stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, "packaged" if not done.returncode else done.stdout)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it tells of features that only AWS has
    os.environ["AWS_DEFAULT_REGION"] = REGION  # the translator asks for it
    # The parameters that decide what there is; dev and staging have the same.
    parameters = {"Environment": "dev", "Tracing": "Disabled"}
    template = yaml_parse(packaged.read_text())
    plain = samtranslator.translator.transform.transform(template, parameters, NoManagedPolicies())
    for resource in plain["Resources"].values():
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                statement.get("Condition", {}).pop("Null", None)
    BUILT_FUNCTIONS.with_name("plain.yaml").write_text(json.dumps(plain))
    template = yaml_parse(BUILT.read_text())
    template["Resources"]["Functions"]["Properties"]["TemplateURL"] = "Functions/plain.yaml"
    TRANSLATED.write_text(yaml_dump(template))


class NoManagedPolicies:
    """The translator asks IAM for AWS' own policies, to give them by their names: these templates name none."""

    def load(self):
        return {}


def references_are_few():
    """A template may hold sixty dynamic references (AWS CloudFormation User Guide, quotas); half of them are in reserve."""
    step("dynamic references")
    for template in sorted(BUILT.parent.rglob("template.yaml")):
        references = template.read_text().count("{{resolve:")
        check(references <= 30, f"{template.relative_to(BUILT.parent)} holds {references}, of thirty")


def run_tests(environment, mails):
    step("the end-to-end tests against the deployment")
    variables = {"GATEHOUSE_URL": environment.url, "GATEHOUSE_MAIL_URL": mails, "RUST_BACKTRACE": "0"}
    # As a stranger: no key of AWS.
    variables = environment_without_aws() | variables
    # Not `-p tests`: for one package features are resolved anew, and much is compiled again.
    command = ["cargo", "test", "--quiet", "--test", "end-to-end"]
    done = subprocess.run(command, cwd=WORKSPACE, env=variables, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = done.stdout.splitlines()
    skipped = [line for line in lines if "skipped: " in line]
    if done.returncode:
        raise SystemExit("\n".join(line for line in lines if "skipped: " not in line))
    passed = sum(int(found[1]) for found in re.finditer(r"(\d+) passed", done.stdout))
    print(f"{len(skipped)} need to look inside, and were skipped")
    check(passed - len(skipped) >= 50, f"{passed - len(skipped)} tests pass")


def environments_are_apart(dev, staging):
    step("two environments beside each other")
    email, answer = dev.register()
    check(dev.login(email)[0] == 200, "dev knows them")
    check(staging.login(email)[0] == 401, "staging does not")
    status, _ = staging.call("GET", "/api/auth/profile", access=answer["accessToken"])
    check(status == 401, "staging takes none of dev's tokens")


def preflight(emulator):
    step("infra/preflight")
    command = [sys.executable, WORKSPACE / "infra/preflight", "staging"]

    def look():
        done = emulator.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout
    code, printed = look()
    check("ok: account 000000000000" in printed and "idling will cost" in printed, "it looks at the account")
    check(code == 0 and "PROBLEM" not in printed, "nothing stands in the way")
    emulator.client("cloudformation").create_stack(StackName="gatehouse-staging", TemplateBody=json.dumps({
        "Resources": {"Impossible": {"Type": "AWS::SSM::Parameter", "Properties": {
            "Type": "String", "Value": "{{resolve:secretsmanager:no-such-secret}}"}}}}))
    wait_until("a deployment fails", lambda: emulator.stack("gatehouse-staging")["StackStatus"] == "ROLLBACK_COMPLETE")
    code, printed = look()
    check(code == 1 and "ROLLBACK_COMPLETE: delete it first" in printed, "it says what does")
    emulator.delete_stack("gatehouse-staging")


def smoke(environment):
    step("infra/smoke")
    done = environment.emulator.run(WORKSPACE / "infra/smoke", environment.url, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(done.returncode == 0, "it finds nothing wrong" if not done.returncode else done.stdout)
    done = environment.emulator.run(WORKSPACE / "infra/smoke", f"{environment.url}/elsewhere", stderr=subprocess.PIPE, text=True)
    check(done.returncode == 1 and "404" in done.stderr, "where there is no system, it says so")


def limits_hold(staging):
    step("limits as they are by default")
    email = f"nobody-{secrets.token_hex(4)}@example.com"
    statuses = [staging.login(email)[0] for _ in range(7)]
    check(429 in statuses, f"the seventh login is refused ({statuses})")


def mail_waits(staging, emulator):
    step("a sender that SES has not verified")
    email, _ = staging.register()
    wait_until("the log says what mails wait for", lambda: staging.logged("SES has not verified the sender"))
    check(not [mail for mail in emulator.mails() if email in mail["To"]], "nothing is sent")
    emulator.client("sesv2").create_email_identity(EmailIdentity=staging.parameters["EmailFrom"])
    items = emulator.client("dynamodb").scan(TableName=staging.outputs()["UsersTable"])["Items"]
    entry = next(item for item in items if item.get("to") == {"S": email})
    check("given_up" not in entry and "sent_at" not in entry, "it waits in the outbox")
    record = json.loads((WORKSPACE / "events/mailer.json").read_text())["Records"][0]
    record["dynamodb"] |= {"Keys": {name: entry[name] for name in ("pk", "sk")}, "NewImage": entry}
    emulator.client("lambda").invoke(
        FunctionName=f"{staging.stack}-mailer", Qualifier="live", Payload=json.dumps({"Records": [record]})
    )
    arrived = lambda: [mail for mail in emulator.mails() if email in mail["To"]]
    mail = wait_until("once it has, the mail arrives", arrived)
    check("#token=" in mail[0]["BodyText"], "with its link")


def bounce_marks(dev, emulator):
    step("an address that bounces")
    email, _ = dev.register()
    message = json.loads(json.loads((WORKSPACE / "events/mail-events.json").read_text())["Records"][0]["Sns"]["Message"])
    message["bounce"]["bouncedRecipients"][0]["emailAddress"] = email
    topics = emulator.client("sns").list_topics()["Topics"]
    topic = next(topic["TopicArn"] for topic in topics if dev.stack in topic["TopicArn"] and "MailEvents" in topic["TopicArn"])
    emulator.client("sns").publish(TopicArn=topic, Message=json.dumps(message))
    key = {"pk": {"S": f"EMAIL#{email}"}, "sk": {"S": "CLAIM"}}
    table = dev.outputs()["UsersTable"]
    claim = lambda: emulator.client("dynamodb").get_item(TableName=table, Key=key)["Item"]
    wait_until("it is marked", lambda: claim().get("undeliverable") == {"S": "bounce"})


def roles_are_enforced(dev, emulator):
    step("a function that its role does not let")
    _, answer = dev.register()
    iam = emulator.client("iam")
    role = dev.role("profile")
    policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in policies}
    read = lambda: dev.call("GET", "/api/auth/profile", access=answer["accessToken"])[0]
    check(read() == 200, "the profile is read")
    for name in policies:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    check(read() == 500, "without its policy it is not")
    wait_until("the log says why", lambda: dev.logged("AccessDenied"))
    for name, document in documents.items():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
    check(read() == 200, "with it, it is again")


def updates_in_place(dev):
    step("a second deployment with nothing changed")
    check("No changes to deploy" in dev.deploy(), "there is nothing to do")

    step("an update in place")
    email, answer = dev.register()
    check(dev.login(email)[1]["expiresIn"] == 900, "an access token lives for 15 minutes")
    dev.deploy(JwtExpiry="10m")
    status, answer_after = dev.login(email)
    check(status == 200, "whoever registered before signs in after it")
    check(answer_after["expiresIn"] == 600, "the new setting holds")
    check(dev.call("GET", "/api/auth/profile", access=answer["accessToken"])[0] == 200, "sessions go on")

    step("secrets are rotated while users are signed in")
    old = answer["accessToken"]
    rotate(dev, "JwtSecret", "JwtRefreshSecret", "DataEncryptionKey")
    new = dev.login(email)[1]["accessToken"]
    check(dev.call("GET", "/api/auth/profile", access=old)[0] == 200, "a token of before is still taken")
    status, refreshed = dev.call("POST", "/api/auth/refresh", {"refreshToken": answer["refreshToken"]})
    check(status == 200, "a refresh token of before, too")
    for access in [new, refreshed["accessToken"]]:
        check(dev.call("GET", "/api/auth/profile", access=access)[0] == 200, "a new one works")
    rotate(dev, "JwtSecret")
    check(dev.call("GET", "/api/auth/profile", access=old)[0] == 401, "after the next rotation it is not")
    return email


def rotate(environment, *secrets):
    """As the README says it; the interpreter is the one that has boto3."""
    command = [sys.executable, WORKSPACE / "infra/rotate-secret", environment.stack, *secrets]
    for _ in ["announced", "used"]:
        done = environment.emulator.run(*command, stdout=subprocess.PIPE, text=True, check=True)
        environment.deploy(SecretsVersion=re.search(r"SecretsVersion=(\S+)", done.stdout)[1])


def failure_rolls_back(dev, email):
    step("a deployment that fails halfway")
    template = yaml_parse(TRANSLATED.read_text())
    template["Resources"]["Impossible"] = {
        "Type": "AWS::SSM::Parameter",
        "DependsOn": "Functions",
        "Properties": {"Type": "String", "Value": "{{resolve:secretsmanager:no-such-secret}}"},
    }
    template["Resources"]["Functions"]["Properties"]["Parameters"]["JwtExpiry"] = "11m"
    broken = BUILT.with_name("broken.yaml")
    broken.write_text(json.dumps(template))
    dev.deploy(broken, may_fail=True)
    broken.unlink()
    check(dev.status() == "UPDATE_ROLLBACK_COMPLETE", f"it is rolled back ({dev.status()})")
    check(dev.login(email)[0] == 200, "users and functions are as they were")


def delete(environments, emulator):
    step("the stacks are deleted")
    for environment in environments:
        iam = emulator.client("iam")
        iam.delete_role_policy(RoleName=environment.role("mailer"), PolicyName=ANY_IDENTITY)
        emulator.delete_stack(environment.stack)
    functions = emulator.client("lambda").list_functions()["Functions"]
    check(not functions, f"no function is left ({[function['FunctionName'] for function in functions]})")


def infrastructure(emulator):
    step("network and a cache of one node, by themselves")
    deploy = ["sam", "deploy", "--resolve-s3", "--capabilities", "CAPABILITY_IAM"]

    def put(name, *parameters):
        command = [*deploy, "--template-file", f"infra/{name}.yaml", "--stack-name", f"check-{name}"]
        command += ["--parameter-overrides", *parameters] if parameters else []
        done = emulator.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 0, f"infra/{name}.yaml" if not done.returncode else done.stdout)
        return emulator.outputs(f"check-{name}")

    network = put("network")
    data = put(
        "data", "Environment=prod", "System=check", "Cache=node",
        f"SubnetIds={network['SubnetIds']}", f"CacheSecurityGroup={network['CacheSecurityGroup']}",
    )
    check(data["CacheAddress"], f"the cache has an address")
    table = emulator.client("dynamodb").describe_table(TableName=data["CredentialsTable"])["Table"]
    check(table["DeletionProtectionEnabled"], "in prod the tables are protected from deletion")
    emulator.delete_stack("check-data")
    left = emulator.client("dynamodb").list_tables()["TableNames"]
    check({data["UsersTable"], data["CredentialsTable"]} <= set(left), "the tables outlive their stack")


def show_logs(emulator):
    """What the functions and the emulator said last."""
    logs = emulator.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"][-20:]:
            print(group["logGroupName"], event["message"].rstrip(), file=sys.stderr)
    print(emulator.log.read_text(errors="replace")[-4000:], file=sys.stderr)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--no-build", action="store_true", help="use what `sam build` made last")
    arguments = arguments.parse_args()
    with contextlib.ExitStack() as cleanup:
        folder = pathlib.Path(cleanup.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        emulator = Emulator(folder)
        if not arguments.no_build:
            build(emulator)
        references_are_few()
        redis_url = cleanup.enter_context(redis(folder))
        cleanup.enter_context(emulator.running())
        mails = cleanup.enter_context(inbox(emulator))
        preflight(emulator)
        translated(emulator)
        try:
            dev = Environment(emulator, "dev", f"{redis_url}/0", ["EmailIdentity=address", *CHEAP_HASHES])
            staging = Environment(emulator, "staging", f"{redis_url}/1", ["EmailIdentity=none"])
            step("sam deploy --config-env dev")
            dev.deploy()
            step("sam deploy --config-env staging, beside it")
            staging.deploy()
            environments_are_apart(dev, staging)
            smoke(dev)
            run_tests(dev, mails)
            limits_hold(staging)
            mail_waits(staging, emulator)
            bounce_marks(dev, emulator)
            roles_are_enforced(dev, emulator)
            email = updates_in_place(dev)
            failure_rolls_back(dev, email)
            infrastructure(emulator)
            delete([dev, staging], emulator)
        except BaseException:
            show_logs(emulator)
            raise
    step("the deployment check has passed")


if __name__ == "__main__":
    main()
