//! Rules of AWS for the templates that cannot be tested without an account; each with its source.

use std::collections::BTreeSet;

use harness::template;
use harness::world::read;
use local::build;

/// Returns the text of the resource or section with this name.
fn block<'a>(text: &'a str, indent: &str, name: &str) -> &'a str {
    let start = format!("\n{indent}{name}:\n");
    let (_, block) = text.split_once(&start).unwrap_or_else(|| panic!("{name}"));
    let ends = |line: &&str| {
        !line.is_empty() && !line.starts_with(&format!("{indent} ")) && !line.starts_with('#')
    };
    let length = block
        .split_inclusive('\n')
        .take_while(|line| !ends(&line.trim_end()));
    &block[..length.map(str::len).sum()]
}

/// A template may contain sixty dynamic references (AWS CloudFormation User Guide, "CloudFormation quotas"); half of
/// them are kept in reserve. Every occurrence counts.
#[test]
fn templates_have_dynamic_references_in_reserve() {
    for file in templates() {
        assert!(read(&file).matches("{{resolve:").count() <= 30, "{file}");
    }
}

/// HTTP APIs add each log group with another name to the account's only policy, which may have 5120 characters (Amazon
/// CloudWatch Logs User Guide, "Enable logging from AWS services").
#[test]
fn what_aws_itself_logs_goes_to_vended_logs() {
    let template = read("template.yaml");
    let access = block(&template, "  ", "AccessLogs");
    assert!(
        access.contains("- /aws/vendedlogs/gatehouse/${AWS::StackName}/access-${Number}\n"),
        "{access}"
    );
    let edge = read("infra/edge.yaml");
    assert!(block(&edge, "  ", "DistributionLogs").contains("\"/aws/vendedlogs/"));
}

/// Hashing a password takes a processor a quarter of a second, so these routes have a rate of their own.
#[test]
fn every_route_that_hashes_is_throttled_by_itself() {
    let text = read("infra/functions.yaml");
    let settings = block(&text, "      ", "RouteSettings");
    let rate = "ThrottlingRateLimit: !Ref HashingThrottleRate, ThrottlingBurstLimit: !Ref HashingThrottleBurst";
    let throttled: BTreeSet<String> = settings
        .lines()
        .filter_map(|line| line.trim().split_once(": { "))
        .inspect(|(_, rates)| assert_eq!(rates.trim_end_matches(" }"), rate))
        .map(|(route, _)| route.to_owned())
        .collect();
    let hashing = template().functions.into_iter();
    // These only make hashes that no password has, which costs nothing.
    let only_decoys = ["code-confirm", "oauth-login"];
    let hashing = hashing.filter(|function| !only_decoys.contains(&function.name.as_str()));
    let hashing = hashing.filter(|function| function.variables.contains_key("ARGON2_MEMORY_KIB"));
    let routes = hashing.flat_map(|function| function.routes);
    assert_eq!(throttled, routes.map(|route| route.key()).collect());
}

/// A new version is rolled back for its own errors only (AWS Lambda Developer Guide, "Types of metrics":
/// `ExecutedVersion`). A function that nobody waits for is never rolled back.
#[test]
fn every_function_has_a_canary_of_its_own() {
    let text = read("infra/functions.yaml");
    for function in template().functions {
        let (name, resource) = (&function.name, &function.resource);
        let properties = block(&text, "  ", resource);
        // API Gateway waits for the authorizer.
        if function.routes.is_empty() && name != "authorizer" {
            assert!(
                properties.contains("DeploymentPreference: { Enabled: false }"),
                "{name}"
            );
            continue;
        }
        let alarms = format!(
            "DeploymentPreference: {{ Alarms: !If [HasCanary, [!Ref {resource}Canary], []] }}"
        );
        assert!(properties.contains(&alarms), "{name}");
        let alarm = block(&text, "  ", &format!("{resource}Canary"));
        for dimension in [
            format!("{{ Name: FunctionName, Value: !Sub \"${{System}}-{name}\" }}"),
            format!("{{ Name: Resource, Value: !Sub \"${{System}}-{name}:live\" }}"),
            format!("{{ Name: ExecutedVersion, Value: !GetAtt {resource}.Version.Version }}"),
            format!("{{ Name: Function, Value: !Sub \"${{System}}-{name}\" }}"),
            format!("{{ Name: Version, Value: !GetAtt {resource}.Version.Version }}"),
        ] {
            assert_eq!(alarm.matches(&dimension).count(), 1, "{name}: {dimension}");
        }
    }
}

/// The pipeline's execution role cannot create a role without a boundary.
#[test]
fn every_role_is_bounded() {
    let text = read("infra/functions.yaml");
    let bounded =
        "PermissionsBoundary: !If [IsBounded, !Ref PermissionsBoundary, !Ref AWS::NoValue]";
    let roles = text.matches("Type: AWS::IAM::Role\n").count();
    assert_eq!(
        text.matches(bounded).count(),
        1 + roles,
        "once for all functions, and once for each role"
    );
    for file in templates() {
        if file != "infra/functions.yaml" && file != "infra/pipeline.yaml" {
            let text = read(&file);
            let roles = text.matches("Type: AWS::IAM::Role\n").count();
            assert_eq!(text.matches(bounded).count(), roles, "{file}");
        }
    }
}

/// Any text is a valid password, so no rule of the WAF may treat one as an attack (AWS WAF Developer Guide, "Baseline
/// rule groups").
#[test]
fn no_rule_of_the_waf_blocks_for_what_a_body_says() {
    let edge = read("infra/edge.yaml");
    for rule in [
        "SizeRestrictions_BODY",
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
    ] {
        assert!(
            edge.contains(&format!(
                "{{ Name: {rule}, ActionToUse: {{ Count: {{}} }} }}"
            )),
            "{rule}"
        );
    }
    let groups = edge
        .split("\n")
        .filter_map(|line| line.trim().strip_prefix("Name: AWSManagedRules"));
    // The last group examines passwords on purpose: it looks for stolen ones.
    let expected = [
        "AmazonIpReputationList",
        "CommonRuleSet",
        "BotControlRuleSet",
        "ATPRuleSet",
    ];
    assert_eq!(groups.collect::<Vec<_>>(), expected);
}

/// A tag can be moved to other code; a commit cannot (GitHub, "Security hardening for GitHub Actions").
#[test]
fn actions_are_pinned_by_commit_and_what_builds_has_no_way_to_aws() {
    for file in ["ci.yml", "deploy.yml", "environment.yml"] {
        let text = read(&format!(".github/workflows/{file}"));
        let uses = text
            .lines()
            .filter_map(|line| line.trim_start_matches(['-', ' ']).strip_prefix("uses: "));
        for action in uses.filter(|action| !action.starts_with("./")) {
            let (_, commit) = action.split_once('@').unwrap();
            let commit = commit.split(' ').next().unwrap();
            let is_commit =
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit, "{file}: {action}");
        }
    }
    let text = read(".github/workflows/environment.yml");
    for job in ["build", "test"] {
        let job = block(&text, "  ", job);
        assert!(job.contains("sam build") || job.contains("cargo test"));
        assert!(
            !job.contains("id-token") && !job.contains("environment: "),
            "{job}"
        );
    }
    let deploy = block(&text, "  ", "deploy");
    assert!(deploy.contains("id-token: write"));
    assert!(!deploy.contains("cargo") && !deploy.contains("sam build"));
}

/// Everything that can be encrypted with a customer managed key is.
#[test]
fn everything_that_holds_data_takes_the_key() {
    let property = |kind: &str| {
        Some(match kind {
            "AWS::AppConfig::ConfigurationProfile" => "KmsKeyIdentifier",
            "AWS::DynamoDB::Table" => "KMSMasterKeyId",
            "AWS::ElastiCache::ReplicationGroup" | "AWS::ElastiCache::ServerlessCache" => {
                "KmsKeyId"
            }
            "AWS::Logs::LogGroup" | "AWS::SecretsManager::Secret" => "KmsKeyId",
            "AWS::Lambda::Function" => "KmsKeyArn",
            "AWS::SNS::Topic" | "AWS::SQS::Queue" => "KmsMasterKeyId",
            // These hold no data, or keep it in a resource of a kind named above.
            "AWS::ApiGatewayV2::ApiMapping"
            | "AWS::ApiGatewayV2::DomainName"
            | "AWS::AppConfig::Application"
            | "AWS::AppConfig::HostedConfigurationVersion"
            | "AWS::CloudFormation::Stack"
            | "AWS::CloudFront::CachePolicy"
            | "AWS::CloudFront::Distribution"
            | "AWS::CloudFront::OriginRequestPolicy"
            | "AWS::CloudWatch::Alarm"
            | "AWS::CloudWatch::Dashboard"
            | "AWS::ElastiCache::ParameterGroup"
            | "AWS::ElastiCache::SubnetGroup"
            | "AWS::ElastiCache::User"
            | "AWS::ElastiCache::UserGroup"
            | "AWS::IAM::Role"
            | "AWS::KMS::Key"
            | "AWS::Lambda::Alias"
            | "AWS::Logs::Delivery"
            | "AWS::Logs::DeliveryDestination"
            | "AWS::Logs::DeliverySource"
            | "AWS::Logs::MetricFilter"
            | "AWS::Route53::RecordSetGroup"
            | "AWS::SES::ConfigurationSet"
            | "AWS::SES::ConfigurationSetEventDestination"
            | "AWS::SES::EmailIdentity"
            | "AWS::SNS::Subscription"
            | "AWS::SNS::TopicPolicy"
            | "AWS::Serverless::Function"
            | "AWS::Serverless::HttpApi"
            | "AWS::WAFv2::LoggingConfiguration"
            | "AWS::WAFv2::WebACL"
            | "Custom::SigningKey" => return None,
            network if network.starts_with("AWS::EC2::") => return None,
            unknown => panic!("does {unknown} hold data?"),
        })
    };
    let mut resources = 0;
    for file in templates() {
        if file == "infra/pipeline.yaml" {
            continue; // its bucket holds code
        }
        let text = read(&file);
        let (_, section) = text.split_once("\nResources:\n").unwrap();
        for resource in section.split("\n    Type: ").skip(1) {
            let (kind, rest) = resource.split_once('\n').unwrap();
            // Up to the name of the next resource.
            let body = rest.split("\n  ").take_while(|line| line.starts_with(' '));
            let body = body.collect::<String>();
            if let Some(property) = property(kind) {
                let key = format!("{property}: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]");
                assert!(body.contains(&key), "{file}: {kind}\n{body}");
                resources += 1;
            }
        }
    }
    let globals = read("infra/functions.yaml");
    assert!(globals.contains("\n    KmsKeyArn: !If [HasKey, !Ref KmsKeyArn, !Ref AWS::NoValue]"));
    assert!(resources > 15, "{resources}");
}

/// A stack that is deleted, or replaced by mistake, takes with it neither the users, nor the secrets that decrypt their
/// second factors, nor the logs.
#[test]
fn what_cannot_be_made_again_outlives_its_stack() {
    let mut resources = 0;
    for file in ["template.yaml", "infra/data.yaml"] {
        let text = read(file);
        for kind in [
            "AWS::DynamoDB::Table",
            "AWS::Logs::LogGroup",
            "AWS::SecretsManager::Secret",
        ] {
            for resource in text.split(&format!("\n    Type: {kind}\n")).skip(1) {
                if resource.starts_with("    Condition: HasCache\n") {
                    continue; // the cache's password, which goes with the cache
                }
                let resource = resource.trim_start_matches("    Condition: CreatesTables\n");
                let kept = "    DeletionPolicy: RetainExceptOnCreate";
                let (first, rest) = resource.split_once('\n').unwrap();
                assert!(first.starts_with(kept), "{file}: {kind}: {first}");
                assert!(
                    rest.starts_with("    UpdateReplacePolicy: Retain\n"),
                    "{file}: {kind}"
                );
                resources += 1;
            }
        }
    }
    assert_eq!(resources, 9);
    let pipeline = read(".github/workflows/environment.yml");
    assert!(pipeline.contains("--enable-termination-protection"));
}

/// A role that a deployment creates can do no more than the deployment may (IAM User Guide, "Permissions boundaries"),
/// and can be passed only to the services that run it.
#[test]
fn a_deployment_makes_no_role_beyond_its_boundary() {
    let text = read("infra/pipeline.yaml");
    let execution = block(&text, "  ", "Execution");
    let statements: Vec<&str> = execution.split("- Effect: Allow\n").skip(1).collect();
    for action in [
        "iam:AttachRolePolicy",
        "iam:CreateRole",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
    ] {
        let allowing: Vec<_> = statements
            .iter()
            .filter(|text| text.contains(action))
            .collect();
        assert_eq!(allowing.len(), 1, "{action}");
        let condition = "Condition: { StringEquals: { iam:PermissionsBoundary: !Ref Boundary } }";
        assert!(allowing[0].contains(condition), "{action}");
    }
    let passing = "Condition: { StringEquals: { iam:PassedToService: [codedeploy.amazonaws.com, lambda.amazonaws.com] } }";
    assert!(execution.contains(passing));
    for forbidden in [
        "iam:*",
        "DeleteRolePermissionsBoundary",
        "iam:CreatePolicy",
        "Action: \"*\"",
    ] {
        assert!(!execution.contains(forbidden), "{forbidden}");
    }
}

/// The subject of a repository that was renamed, or created since 15 July 2026, contains ids (GitHub, "Immutable
/// subject claims"). Wildcards instead of the ids would admit repositories with similar names.
#[test]
fn a_repository_is_known_by_both_forms_of_its_subject() {
    let text = read("infra/pipeline.yaml");
    let role = block(&text, "  ", "Deployment");
    for form in [
        "- !Sub repo:${Repository}:environment:${Environment}\n",
        "- repo:${Owner}@${OwnerId}/${Name}@${RepositoryId}:environment:${Environment}\n",
    ] {
        assert!(role.contains(form), "{form}");
    }
    let (_, trust) = role.split_once("AssumeRolePolicyDocument:").unwrap();
    let (trust, _) = trust.split_once("Policies:").unwrap();
    assert!(
        !trust.contains("StringLike") && !trust.contains('*'),
        "{trust}"
    );
}

fn templates() -> Vec<String> {
    let folder = std::fs::read_dir(build::workspace().join("infra")).unwrap();
    let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
    let yaml = names.filter(|name| name.ends_with(".yaml"));
    let nested = yaml.map(|name| format!("infra/{name}"));
    nested.chain(["template.yaml".to_owned()]).collect()
}

/// The local stack and the emulator know no rights to keys in KMS.
#[test]
fn exactly_the_functions_that_sign_may_sign_with_keys_of_their_stack() {
    let text = read("infra/functions.yaml");
    let right = "              - Effect: Allow
                Action: kms:Sign
                Resource: !Sub arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*
                Condition: { StringEquals: { aws:ResourceTag/gatehouse: !Ref System } }
";
    for function in template().functions {
        let signs = function.variables.contains_key("JWT_PRIVATE_KEY");
        let resource = block(&text, "  ", &function.resource);
        assert_eq!(resource.contains(right), signs, "{}", function.name);
        assert_eq!(resource.contains("kms:"), signs, "{}", function.name);
    }
    let made = "Tags: [{ TagKey: \"gatehouse\", TagValue: process.env.SYSTEM }]";
    assert!(read("infra/data.yaml").contains(made));
}
