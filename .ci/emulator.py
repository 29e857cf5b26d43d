"""Starts ministack with one thing put right: where it updates a nested stack, it forgets the attributes of what did not
change, and whatever refers to them fails."""

import sys

from ministack.app import main
from ministack.services import cloudformation
from ministack.services.cloudformation import provisioners

update_resource = provisioners._update_resource


def update_with_attributes(resource_type, physical_id, old, new, stack, logical_id=None, old_attrs=None):
    if old_attrs is None:
        resources = cloudformation._stacks.get(stack, {}).get("_resources", {})
        old_attrs = resources.get(logical_id, {}).get("Attributes")
    return update_resource(resource_type, physical_id, old, new, stack, logical_id, old_attrs)


provisioners._update_resource = update_with_attributes
sys.exit(main())
