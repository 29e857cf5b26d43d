//! What AWS asks of the templates and cannot be shown without an account: each rule with its source.

use std::collections::BTreeSet;

use harness::template;
use harness::world::read;
use local::build;

/// The resource or section of this name, as the template's text has it.
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

/// A template may hold sixty dynamic references (AWS CloudFormation User Guide, "CloudFormation quotas"); half of them are
/// in reserve. Each is counted as often as it is written.
#[test]
fn templates_have_dynamic_references_in_reserve() {
    for file in [
        "template.yaml",
        "infra/functions.yaml",
        "infra/data.yaml",
        "infra/edge.yaml",
    ] {
        assert!(read(file).matches("{{resolve:").count() <= 30, "{file}");
    }
}

/// HTTP APIs add each log group that is named otherwise to the account's one policy of 5120 characters (Amazon CloudWatch
/// Logs User Guide, "Enable logging from AWS services").
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

/// What hashes passwords costs a processor a quarter of a second: its routes have a rate of their own.
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
    let hashing = hashing.filter(|function| function.variables.contains_key("ARGON2_MEMORY_KIB"));
    let routes = hashing.flat_map(|function| function.routes);
    assert_eq!(throttled, routes.map(|route| route.key()).collect());
}

/// A new version is taken back for what it does itself (AWS Lambda Developer Guide, "Types of metrics": `ExecutedVersion`),
/// and what answers nobody takes nothing back.
#[test]
fn every_function_has_a_canary_of_its_own() {
    let text = read("infra/functions.yaml");
    for function in template().functions {
        let (name, resource) = (&function.name, &function.resource);
        let properties = block(&text, "  ", resource);
        if function.routes.is_empty() {
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

/// The pipeline's execution role makes no role without it.
#[test]
fn every_role_is_bounded() {
    let text = read("infra/functions.yaml");
    let bounded =
        "PermissionsBoundary: !If [IsBounded, !Ref PermissionsBoundary, !Ref AWS::NoValue]";
    let roles = text.matches("Type: AWS::IAM::Role\n").count();
    assert_eq!(
        text.matches(bounded).count(),
        1 + roles,
        "the functions', and each by itself"
    );
    for file in std::fs::read_dir(build::workspace().join("infra")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".yaml") && name != "functions.yaml" && name != "pipeline.yaml" {
            assert!(
                !std::fs::read_to_string(&path)
                    .unwrap()
                    .contains("AWS::IAM::Role"),
                "{name}"
            );
        }
    }
}

/// Any text is a good password: no rule of the WAF reads one as an attack (AWS WAF Developer Guide, "Baseline rule groups").
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
    // The last one looks at passwords for what it is there for: those that others have stolen.
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
