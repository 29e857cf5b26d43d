"""The example application (examples/sam), deployed beside a deployed Gatehouse."""

import subprocess

from samcli.yamlhelper import yaml_dump, yaml_parse

import harness
from harness import WORKSPACE, check, create_routes, step, translate

SOURCE = WORKSPACE / "examples/sam/template.yaml"
BUILT = WORKSPACE / ".aws-sam/application/template.yaml"


def run(emulator, *command):
    done = emulator.run("sam", *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(done.stdout)


def build(emulator):
    step("the application: sam build")
    run(emulator, "build", "--template", str(SOURCE), "--build-dir", str(BUILT.parent),
        "--parameter-overrides", "Architecture=x86_64")


def deploy(gatehouse):
    """Deploys it and returns its address."""
    step("the application: sam deploy")
    emulator, stack = gatehouse.emulator, f"{gatehouse.stack}-application"
    packaged, plain = BUILT.with_name("packaged.yaml"), BUILT.with_name("plain.yaml")
    run(emulator, "package", "--template-file", str(BUILT), "--resolve-s3", "--no-progressbar",
        "--output-template-file", str(packaged))
    template = yaml_parse(packaged.read_text())
    given = gatehouse.outputs() | {
        "Gatehouse": gatehouse.stack, "Architecture": "x86_64",
        "RedisUrl": gatehouse.parameters["RedisUrl"], "RateLimits": gatehouse.parameters["RateLimits"],
    }
    given = {name: value for name, value in given.items() if name in template["Parameters"]}
    plain.write_text(yaml_dump(translate(packaged, given)))
    run(emulator, "deploy", "--template-file", str(plain), "--stack-name", stack, "--resolve-s3",
        "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar",
        "--parameter-overrides", *[f"{name}={value}" for name, value in given.items()])
    return with_routes(emulator, stack, template, gatehouse)


def delete(gatehouse):
    """Deletes it: a stack cannot be deleted while another one imports from it."""
    gatehouse.emulator.delete_stack(f"{gatehouse.stack}-application")


def with_routes(emulator, stack, template, gatehouse):
    """Creates what API Gateway would import from the API's OpenAPI body, and returns the API's address."""
    resources = emulator.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    physical = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    api = physical["Api"]
    gateway = emulator.client("apigatewayv2")
    exports = {export["Name"]: export["Value"] for export in emulator.client("cloudformation").list_exports()["Exports"]}
    outputs = gatehouse.outputs()
    authorizer = exports[f"{gatehouse.stack}-Authorizer"]
    invoke = f"arn:aws:apigateway:{harness.REGION}:lambda:path/2015-03-31/functions/{authorizer}/invocations"
    source = "$request.header.Authorization"
    by_function = gateway.create_authorizer(
        ApiId=api, Name="Gatehouse", AuthorizerType="REQUEST", AuthorizerUri=invoke, IdentitySource=[source],
        AuthorizerPayloadFormatVersion="2.0", EnableSimpleResponses=True, AuthorizerResultTtlInSeconds=0,
    )
    by_token = gateway.create_authorizer(
        ApiId=api, Name="Tokens", AuthorizerType="JWT", IdentitySource=[source],
        JwtConfiguration={"Issuer": outputs["JwtIssuer"], "Audience": [outputs["JwtAudience"]]},
    )
    kinds = {
        "Gatehouse": {"AuthorizationType": "CUSTOM", "AuthorizerId": by_function["AuthorizerId"]},
        "Tokens": {"AuthorizationType": "JWT", "AuthorizerId": by_token["AuthorizerId"]},
        "NONE": {},
    }
    default = template["Resources"]["Api"]["Properties"]["Auth"]["DefaultAuthorizer"]
    functions = emulator.client("lambda")
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        arn = functions.get_function_configuration(FunctionName=physical[name])["FunctionArn"]
        routes = [event["Properties"] for event in resource["Properties"]["Events"].values()]
        create_routes(emulator, api, arn, routes, lambda route: kinds[route.get("Auth", {}).get("Authorizer", default)])
    return f"{emulator.url}/_aws/execute-api/{api}/$default"
