"""The deployment check: the real SAM CLI deploys this workspace to an emulator that enforces IAM, and the project's own
end-to-end tests run against the deployment.

    .ci/deployment             everything
    .ci/deployment --no-build  with the last result of `sam build`

The emulator (ministack) lacks some features; this check replaces them:
- It does not translate SAM's nested templates: SAM's own translator translates the functions' template here.
  `.ci/emulator.py` corrects its updates of nested stacks.
- It does not import an HTTP API's routes and authorizers: they are created from the built template.
- Its ElastiCache nodes do not answer, and it has no serverless caches: the systems use a Redis (`Cache=none`); the
  network and a cache of one node are deployed separately.
- It supports neither `dynamodb:LeadingKeys` nor `ses:FromAddress`: here roles are limited to actions and tables, in the
  local stack also to keys (tests/policies.rs). The condition that there must be keys (`Null`) is removed.
- It does not know the identity of a mail when it checks a role: the mailer's role gets `ses:SendEmail` on all
  identities in addition to its own policy. The other roles get nothing.
- It treats a partly processed batch of a stream as done: failed entries are delivered again here, as Lambda does (the
  local stack redelivers them itself: tests/mailer.rs).
- It does not tell a function by which alias it was invoked: of the authorizer's aliases only `live` is tested here, all
  of them in the local stack (tests/authorizer.rs).
- It publishes no event about a sent mail: the event is published here, in SES's format.
- `sam delete` cannot parse the addresses of its buckets: CloudFormation deletes the stacks. With a nested stack the
  emulator deletes resources that the template retains: retention is tested with `data` alone.
- It has no CodeDeploy and so no canary: only cfn-lint checks the parts for prod. The same applies to `edge` and
  `pipeline`, some of whose resource types it lacks.
`sam build` gets the functions of a debug build (.ci/last-build): to compile them once more, for Lambda's system, takes
longer than everything else and does not affect these checks. GitHub's run of `.ci/sam-local`, and each deployment by the
workflows, compile them with cargo-lambda.
"""

import argparse
import contextlib
import json
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile

from samcli.yamlhelper import yaml_parse

import application
import operations
from harness import (
    ANY_IDENTITY, BUILT, CHEAP_HASHES, TRANSLATED, WORKSPACE, Emulator, Environment, build, check,
    environment_without_aws, inbox, redis, step, translated, wait_until,
)


def references_are_few():
    """Keeps half of a template's sixty dynamic references in reserve (AWS CloudFormation User Guide, quotas)."""
    step("dynamic references")
    for template in sorted(BUILT.parent.rglob("template.yaml")):
        references = template.read_text().count("{{resolve:")
        check(references <= 30, f"{template.relative_to(BUILT.parent)} holds {references}, of thirty")


def run_tests(environment, mails, application):
    step("the end-to-end tests against the deployment")
    variables = {"GATEHOUSE_URL": environment.url, "GATEHOUSE_MAIL_URL": mails, "RUST_BACKTRACE": "0"}
    variables["GATEHOUSE_APPLICATION_URL"] = application
    # Without credentials for AWS, like any client.
    variables = environment_without_aws() | variables
    # Not `-p tests`: for one package features are resolved anew, and many crates are compiled again.
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


def authorizer_is_exported(dev, emulator):
    step("the authorizer for other stacks")
    exports = emulator.client("cloudformation").list_exports()["Exports"]
    exports = {export["Name"]: export["Value"] for export in exports}
    aliases = {name: exports[f"{dev.stack}-{name}"].rsplit(":", 1)[1]
               for name in ("Authorizer", "AuthorizerOptional", "AuthorizerAdmin")}
    check(aliases == {"Authorizer": "live", "AuthorizerOptional": "optional", "AuthorizerAdmin": "admin"},
          "three aliases are exported")
    _, answer = dev.register()
    event = json.loads((WORKSPACE / "events/authorizer.json").read_text())
    event["headers"]["authorization"] = f"Bearer {answer['accessToken']}"

    def ask():
        arn = exports[f"{dev.stack}-Authorizer"]
        return json.load(emulator.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(event))["Payload"])

    permission = ask()
    check(permission["isAuthorized"] and permission["context"]["userId"] == answer["user"]["id"], "it lets a user through")
    dev.call("POST", "/api/auth/logout", access=answer["accessToken"])
    check(ask() == {"isAuthorized": False, "context": {}}, "after a logout it does not")


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
    operations.rotate(dev, "SigningKey", "JwtRefreshSecret", "DataEncryptionKey")
    new = dev.login(email)[1]["accessToken"]
    check(dev.call("GET", "/api/auth/profile", access=old)[0] == 200, "a token of before is still taken")
    status, refreshed = dev.call("POST", "/api/auth/refresh", {"refreshToken": answer["refreshToken"]})
    check(status == 200, "a refresh token of before, too")
    for access in [new, refreshed["accessToken"]]:
        check(dev.call("GET", "/api/auth/profile", access=access)[0] == 200, "a new one works")

    step("the key of access tokens moves to KMS")
    dev.deploy(SigningKeyStore="kms")
    operations.rotate(dev, "SigningKey")
    check(dev.call("GET", "/api/auth/profile", access=old)[0] == 401, "a key of two rotations ago is not taken any more")
    check(dev.call("GET", "/api/auth/profile", access=new)[0] == 200, "the key of before is")
    for status, answer in [dev.login(email), dev.call("POST", "/api/auth/refresh", {"refreshToken": refreshed["refreshToken"]})]:
        check(status == 200, "KMS signs")
        check(dev.call("GET", "/api/auth/profile", access=answer["accessToken"])[0] == 200, "and its key verifies")
    value = dev.emulator.client("secretsmanager").get_secret_value(SecretId=dev.outputs()["SigningKey"])["SecretString"]
    check(json.loads(value)["private"].startswith("arn:aws:kms:"), "the secret holds no private key any more")
    return email


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


def begins_anew(dev):
    step("another stack of the same name, beside what the first has left behind")
    dev.deploy(UsersTableName="", UsersTableStreamArn="", CredentialsTableName="", EmailIdentity="none",
               SecretsVersion="AWSCURRENT")
    email, _ = dev.register()
    check(dev.login(email)[0] == 200, "it works")


def show_logs(emulator):
    """Prints the last log lines of the functions and of the emulator."""
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
            application.build(emulator)
        references_are_few()
        redis_url = cleanup.enter_context(redis(folder))
        cleanup.enter_context(emulator.running())
        mails = cleanup.enter_context(inbox(emulator))
        operations.preflight(emulator)
        translated(emulator)
        try:
            # The end-to-end tests exceed the rate limits for people.
            changed = ["EmailIdentity=address", "RateLimits=off", *CHEAP_HASHES]
            dev = Environment(emulator, "dev", f"{redis_url}/0", changed)
            staging = Environment(emulator, "staging", f"{redis_url}/1", ["EmailIdentity=none"])
            step("sam deploy --config-env dev")
            dev.deploy()
            step("sam deploy --config-env staging, beside it")
            staging.deploy()
            environments_are_apart(dev, staging)
            operations.smoke(dev)
            step("the API's own address as the issuer, so that its keys are found")
            dev.deploy(JwtIssuer=dev.url)
            protected = application.deploy(dev)
            run_tests(dev, mails, protected)
            application.delete(dev)
            limits_hold(staging)
            mail_waits(staging, emulator)
            bounce_marks(dev, emulator)
            roles_are_enforced(dev, emulator)
            authorizer_is_exported(dev, emulator)
            email = updates_in_place(dev)
            failure_rolls_back(dev, email)
            operations.origin_secret_is_replaced(dev)
            step("the key comes back from KMS")
            dev.deploy(SigningKeyStore="kms-to-secret")
            check(dev.login(email)[0] == 200, "KMS signs until it is replaced")
            operations.secret_that_leaked(dev, email)
            dev.deploy(SigningKeyStore="secret")
            check(dev.login(email)[0] == 200, "after that nothing needs KMS")
            operations.secret_of_an_earlier_stack(dev, email)
            operations.hostile_preview(dev)
            operations.restore(dev, email)
            operations.infrastructure(emulator)
            delete([dev, staging], emulator)
            begins_anew(dev)
        except BaseException:
            show_logs(emulator)
            raise
    step("the deployment check has passed")


if __name__ == "__main__":
    main()
