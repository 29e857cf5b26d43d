"""Starts ministack with two corrections. When it updates a nested stack, it forgets the attributes of unchanged
resources, so that references to them fail. And it counts one password for a cache user, however many are given."""

import sys

from ministack.app import main
from ministack.services import cloudformation, elasticache
from ministack.services.cloudformation import provisioners

update_resource = provisioners._update_resource


def update_with_attributes(resource_type, physical_id, old, new, stack, logical_id=None, old_attrs=None):
    if old_attrs is None:
        resources = cloudformation._stacks.get(stack, {}).get("_resources", {})
        old_attrs = resources.get(logical_id, {}).get("Attributes")
    return update_resource(resource_type, physical_id, old, new, stack, logical_id, old_attrs)


modify_user = elasticache._modify_user


def modify_user_with_passwords(parameters):
    answer = modify_user(parameters)
    passwords = [name for name in parameters if name.startswith("Passwords.member.")]
    if passwords:
        elasticache._users[elasticache._p(parameters, "UserId")]["Authentication"]["PasswordCount"] = len(passwords)
    return answer


provisioners._update_resource = update_with_attributes
elasticache._modify_user = modify_user_with_passwords
sys.exit(main())
