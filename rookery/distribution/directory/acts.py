"""Every act of the directory as a rule for the writer."""

from collections.abc import Mapping
from typing import Any

from rookery.distribution.directory import rules_accounts as accounts
from rookery.distribution.directory import rules_credentials as credentials
from rookery.distribution.directory import rules_domains as domains
from rookery.distribution.directory import rules_expansions as expansions
from rookery.distribution.directory import rules_members as members
from rookery.distribution.directory import rules_pools as pools
from rookery.distribution.directory.rules import Outcome, each
from rookery.storage.group_commit import Rule

ADD_DOMAIN = Rule("add-domain", each(domains.add_domain))
RENAME_DOMAIN = Rule("rename-domain", each(domains.rename_domain))
ADD_DOMAIN_ALIAS = Rule("add-domain-alias", each(domains.add_domain_alias))
REMOVE_DOMAIN_ALIAS = Rule("remove-domain-alias", each(domains.remove_domain_alias))
REMOVE_DOMAIN = Rule("remove-domain", each(domains.remove_domain))

ADD_ACCOUNTS = Rule("add-accounts", each(accounts.add_accounts))
CHANGE_ACCOUNT = Rule("change-account", each(accounts.change_account))
RENAME_ACCOUNT = Rule("rename-account", each(accounts.rename_account))
REMOVE_ACCOUNT = Rule("remove-account", each(accounts.remove_account))
RESTORE_ACCOUNT = Rule("restore-account", each(accounts.restore_account))
PURGE_ACCOUNT = Rule("purge-account", each(accounts.purge_account))
RECORD_LOGINS = Rule("record-logins", each(accounts.record_logins))

SET_PASSWORD = Rule("set-password", each(credentials.set_password))
ADD_APP_PASSWORD = Rule("add-app-password", each(credentials.add_app_password))
REMOVE_APP_PASSWORD = Rule("remove-app-password", each(credentials.remove_app_password))
REFRESH = Rule("refresh-credential", each(credentials.refresh))

ADD_EXPANSION = Rule("add-expansion", each(expansions.add_expansion))
CHANGE_EXPANSION = Rule("change-expansion", each(expansions.change_expansion))
RENAME_EXPANSION = Rule("rename-expansion", each(expansions.rename_expansion))
REMOVE_EXPANSION = Rule("remove-expansion", each(expansions.remove_expansion))

ADD_POOL = Rule("add-pool", each(pools.add_pool))
CHANGE_POOL = Rule("change-pool", each(pools.change_pool))
REMOVE_POOL = Rule("remove-pool", each(pools.remove_pool))
REGISTER_POOL = Rule("register-pool", each(pools.register_pool))
PROMOTE_STORE = Rule("promote-store", each(pools.promote_store))
REPORT_FREE = Rule("report-free", each(pools.report_free))
ASSIGN_DOMAIN = Rule("assign-domain", each(pools.assign_domain))
LOCAL_DOMAIN = Rule("local-domain", each(pools.local_domain))

FOUND_CLUSTER = Rule("found-cluster", each(members.found_cluster))
ADD_AUTHORITY = Rule("add-authority", each(members.add_authority))
DROP_AUTHORITIES = Rule("drop-authorities", each(members.drop_authorities))
INVITE = Rule("invite", each(members.invite))
REDEEM = Rule("redeem", each(members.redeem))
RENEW = Rule("renew-certificate", each(members.renew))
REVOKE_MEMBER = Rule("revoke-member", each(members.revoke_member))
FORGET_MEMBER = Rule("forget-member", each(members.forget_member))
SAY_PRESENT = Rule("say-present", each(members.say_present))

BY_NAME: Mapping[str, Rule[Any, Outcome[Any]]] = {
    rule.name: rule for rule in vars().copy().values() if isinstance(rule, Rule)
}
