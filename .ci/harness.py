"""The tools of the deployment check: the emulator, an inbox, a Redis, and environments deployed by the real SAM CLI."""

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
# An additional policy for the mailer's role; deployment.py explains why.
ANY_IDENTITY = "stand-in-any-identity"
ANY_IDENTITY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ses:SendEmail", "Resource": "*"}],
}
PASSWORD = "Correct-7-horse-" + secrets.token_hex(4)
# Cheap hashes, because the tests hash more often than a shared machine can take.
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
    """Returns this process's variables without those of AWS, so that the machine's own AWS account is not used."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@contextlib.contextmanager
def child(command, **options):
    """Runs a process in its own group, terminates it at the end of the block, and kills it if it does not end."""
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
    """The emulated part of AWS that this check needs."""

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
        # Lambda alone sets AWS_REGION and the role's keys in a function's environment.
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

    def client(self, service, **keys):
        """Returns a client with the keys of the account's owner, or with other keys."""
        keys = keys or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)

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

    def bucket(self):
        """Returns the bucket that SAM creates for its artifacts."""
        return self.client("s3").list_buckets()["Buckets"][0]["Name"]

    def mails(self):
        with urllib.request.urlopen(f"{self.url}/_ministack/ses/messages") as answer:
            accounts = json.load(answer)["messages"]
        return [mail for mails in accounts.values() for mail in mails]

    def run(self, *command, **options):
        return subprocess.run(command, cwd=WORKSPACE, env=self.environment, **options)


class Inbox(http.server.BaseHTTPRequestHandler):
    """Serves the emulator's mails to the tests, in the form of `cargo local`'s /_local/mail."""

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
                # The emulator does not keep headers; tests/mailer.rs checks them in the local stack.
                "headers": {},
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
    """A deployed environment of samconfig.toml."""

    def __init__(self, emulator, name, redis_url, parameters):
        self.emulator, self.name = emulator, name
        self.stack = f"gatehouse-{name}"
        config = tomllib.loads((WORKSPACE / "samconfig.toml").read_text())
        given = dict(pair.split("=", 1) for pair in config[name]["deploy"]["parameters"]["parameter_overrides"])
        given |= {"Cache": "none", "RedisUrl": redis_url}
        self.parameters = given | dict(pair.split("=", 1) for pair in parameters)
        self.url = None

    def deploy(self, template=TRANSLATED, may_fail=False, **changes):
        """Runs `sam deploy --config-env <name>` and returns its output."""
        self.parameters |= changes
        nothing = '""'
        overrides = [f"{name}={value or nothing}" for name, value in self.parameters.items()]
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
        """Creates what API Gateway would import from the API's OpenAPI body: routes, integrations, CORS."""
        gateway = self.emulator.client("apigatewayv2")
        api = self.outputs()["ApiDomain"].split(".")[0]
        self.url = f"{self.emulator.url}/_aws/execute-api/{api}/$default"
        functions = self.emulator.client("lambda")
        resources = yaml_parse(BUILT_FUNCTIONS.read_text())["Resources"]
        for name, resource in resources.items():
            events = resource.get("Properties", {}).get("Events", {}).values()
            routes = [event["Properties"] for event in events if event["Type"] == "HttpApi"]
            if not routes:
                continue
            function = f"{self.stack}-{re.sub(r'(?<!^)(?=[A-Z])', '-', name).lower()}"
            arn = functions.get_alias(FunctionName=function, Name="live")["AliasArn"]
            create_routes(self.emulator, api, arn, routes)
        gateway.update_api(ApiId=api, CorsConfiguration=cors_configuration(self.parameters))

    def call(self, method, path, body=None, access=None, headers=()):
        headers = {"content-type": "application/json"} | dict(headers)
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

    def public_keys(self):
        status, answer = self.call("GET", "/.well-known/jwks.json")
        check(status == 200, "the public keys are published")
        return answer["keys"]

    def logged(self, text):
        logs = self.emulator.client("logs")
        group = self.outputs()["FunctionLogs"]
        return logs.filter_log_events(logGroupName=group, filterPattern=f'"{text}"')["events"]


def cors_configuration(parameters):
    """Returns what API Gateway would import as CORS configuration from the OpenAPI body that SAM makes."""
    plain = json.loads(BUILT_FUNCTIONS.with_name("plain.yaml").read_text())
    parameters = {"AllowedHeaders": ""} | parameters

    def evaluate(value):
        if isinstance(value, list):
            return [evaluate(item) for item in value]
        if not isinstance(value, dict):
            return value
        function, argument = next(iter(value.items()))
        match function:
            case "Fn::If":
                condition, then, otherwise = argument
                return evaluate(then if evaluate(plain["Conditions"][condition]) else otherwise)
            case "Fn::Not":
                return not evaluate(argument[0])
            case "Fn::Equals":
                return evaluate(argument[0]) == evaluate(argument[1])
            case "Fn::Split":
                return evaluate(argument[1]).split(argument[0])
            case "Fn::Join":
                return argument[0].join(evaluate(argument[1]))
            case "Fn::Sub":
                return re.sub(r"\$\{(\w+)\}", lambda name: parameters[name[1]], argument)
            case "Ref":
                return parameters[argument]
        return {name: evaluate(item) for name, item in value.items()}

    cors = evaluate(plain["Resources"]["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"])
    complete = isinstance(cors, dict) and cors.get("allowCredentials") is True and isinstance(cors.get("allowOrigins"), list)
    check(complete, f"SAM keeps the whole CORS configuration ({cors})")
    return {name[0].upper() + name[1:]: value for name, value in cors.items()}


def create_routes(emulator, api, function, routes, authorization=lambda route: {}):
    """Creates the routes of a function that the API does not have yet."""
    gateway = emulator.client("apigatewayv2")
    existing = {route["RouteKey"] for route in gateway.get_routes(ApiId=api, MaxResults="500")["Items"]}
    integration = None
    for route in routes:
        key = f"{route['Method'].upper()} {route['Path']}" if "Path" in route else "$default"
        if key in existing:
            continue
        integration = integration or gateway.create_integration(
            ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
        )
        target = f"integrations/{integration['IntegrationId']}"
        gateway.create_route(ApiId=api, RouteKey=key, Target=target, **authorization(route))


def build(emulator):
    step("sam build")
    # Everything but the compiler, which takes longer than all the rest.
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins"], cwd=WORKSPACE, check=True)
    emulator.environment["PATH"] = f"{WORKSPACE / '.ci/last-build'}:{emulator.environment['PATH']}"
    done = emulator.run("sam", "build", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(done.stdout)
    check(BUILT.exists(), "every function is built")


def translated(emulator):
    """Writes the built template, with the functions' template translated to plain CloudFormation."""
    step("the functions' template, packaged and translated")
    packaged = BUILT_FUNCTIONS.with_name("packaged.yaml")
    command = ["sam", "package", "--template-file", str(BUILT_FUNCTIONS), "--resolve-s3", "--no-progressbar"]
    done = emulator.run(*command, "--output-template-file", str(packaged), stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, "packaged" if not done.returncode else done.stdout)
    # The parameters that decide which resources exist; dev and staging have the same.
    plain = translate(packaged, {"Environment": "dev", "Tracing": "Disabled"})
    BUILT_FUNCTIONS.with_name("plain.yaml").write_text(json.dumps(plain))
    template = yaml_parse(BUILT.read_text())
    template["Resources"]["Functions"]["Properties"]["TemplateURL"] = "Functions/plain.yaml"
    TRANSLATED.write_text(yaml_dump(template))


def translate(template, parameters):
    """Returns a SAM template as plain CloudFormation, without a condition that the emulator does not know."""
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns about features that only AWS has
    os.environ["AWS_DEFAULT_REGION"] = REGION  # the translator needs it
    template = yaml_parse(template.read_text())
    plain = samtranslator.translator.transform.transform(template, parameters, NoManagedPolicies())
    for resource in plain["Resources"].values():
        for policy in resource["Properties"].get("Policies", []):
            # A policy under a condition has no statement about tables.
            for statement in policy.get("PolicyDocument", {}).get("Statement", []):
                statement.get("Condition", {}).pop("Null", None)
    return plain


class NoManagedPolicies:
    """Replaces the list of AWS's managed policies, which the translator reads from IAM: these templates name none."""

    def load(self):
        return {}
