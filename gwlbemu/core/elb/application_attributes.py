"""The attributes of an Application Load Balancer, its listeners and its target groups: one row per AWS key.

Rules of this file: the table is the only place that knows these keys, ranges and defaults. One value of the class holds
the keys of the load balancer, of one listener and of one target group: who asks about a group leaves the listener's at
their defaults, and the other way. A key of AWS's that is not here is in `_ABSENT`, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gwlbemu.core.elb.attributes import (
    DELETION_PROTECTION,
    DEREGISTRATION_DELAY,
    LISTENER,
    LOAD_BALANCER,
    TARGET_GROUP,
    Attribute,
    Attributes,
    Table,
    table_of,
)
from gwlbemu.core.elb.minimum_health import USE_BALANCER, MinimumHealthAttributes, minimum_health_rows
from gwlbemu.errors import AwsError

LB_COOKIE, APP_COOKIE = "lb_cookie", "app_cookie"
ROUND_ROBIN, LEAST_OUTSTANDING, WEIGHTED_RANDOM = "round_robin", "least_outstanding_requests", "weighted_random"
APPEND, PRESERVE, REMOVE = "append", "preserve", "remove"
MOST_TARGETS = 1000  # ALB guide, Quotas: targets per load balancer
_WEEK = 604800
_LB = "ALB guide, Edit attributes for your Application Load Balancer"
_LIS = "ALB guide, HTTP header modification"
_TG = "ALB guide, Edit target group attributes"
_LOGS = "ALB guide, Access logs"
_HEALTH = "ALB guide, Target group health"
_RESERVED_COOKIES = ("AWSALB", "AWSALBAPP", "AWSALBTG")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}"  # RFC 9110, 5.6.2
_HEADER_VALUE = r"[\x20-\x7e]{0,1024}"
# Headers that are added to requests and may have another name: the field, the key's middle, AWS's name.
REQUEST_HEADERS = {
    "serial_number_header": ("x_amzn_mtls_clientcert_serial_number", "X-Amzn-Mtls-Clientcert-Serial-Number"),
    "issuer_header": ("x_amzn_mtls_clientcert_issuer", "X-Amzn-Mtls-Clientcert-Issuer"),
    "subject_header": ("x_amzn_mtls_clientcert_subject", "X-Amzn-Mtls-Clientcert-Subject"),
    "validity_header": ("x_amzn_mtls_clientcert_validity", "X-Amzn-Mtls-Clientcert-Validity"),
    "leaf_header": ("x_amzn_mtls_clientcert_leaf", "X-Amzn-Mtls-Clientcert-Leaf"),
    "clientcert_header": ("x_amzn_mtls_clientcert", "X-Amzn-Mtls-Clientcert"),
    "tls_version_header": ("x_amzn_tls_version", "X-Amzn-Tls-Version"),
    "cipher_suite_header": ("x_amzn_tls_cipher_suite", "X-Amzn-Tls-Cipher-Suite"),
}
# Headers that are put into answers where their key has a value: the field, the key's middle, the header.
RESPONSE_HEADERS = {
    "strict_transport_security": ("strict_transport_security", "Strict-Transport-Security"),
    "allow_origin": ("access_control_allow_origin", "Access-Control-Allow-Origin"),
    "allow_methods": ("access_control_allow_methods", "Access-Control-Allow-Methods"),
    "allow_headers": ("access_control_allow_headers", "Access-Control-Allow-Headers"),
    "allow_credentials": ("access_control_allow_credentials", "Access-Control-Allow-Credentials"),
    "expose_headers": ("access_control_expose_headers", "Access-Control-Expose-Headers"),
    "max_age": ("access_control_max_age", "Access-Control-Max-Age"),
    "content_security_policy": ("content_security_policy", "Content-Security-Policy"),
    "content_type_options": ("x_content_type_options", "X-Content-Type-Options"),
    "frame_options": ("x_frame_options", "X-Frame-Options"),
}
# What AWS has and the emulation has not (see `Attributes.ABSENT`).
_ABSENT = {
    "waf.": "there is no web application firewall here",
    "connection_logs.": "connection logs are not emulated: access_logs.s3.enabled is",
    "health_check_logs.": "health check logs are not emulated: `gwlbemu logs NODE` tells every change of a target",
    "zonal_shift.": "zonal shift is not emulated: `gwlbemu fail zone` is",
    "ipv6.deny_all_igw_traffic": "not emulated: the route table of a subnet decides about its IPv6 traffic",
    "lambda.": "Lambda functions as targets are not emulated",
    "load_balancing.algorithm.anomaly_mitigation": "anomaly mitigation is not emulated",
    "target_optimizer.": "the target optimizer is not emulated",
}


@dataclass(frozen=True, slots=True)
class ApplicationAttributes(MinimumHealthAttributes, Attributes):
    """Every attribute of an Application Load Balancer, parsed; the defaults are AWS's."""

    ABSENT: ClassVar[Mapping[str, str]] = _ABSENT
    TABLE: ClassVar[Table] = table_of(
        {
            LOAD_BALANCER: (
                DELETION_PROTECTION,
                # "Cross-zone load balancing is always turned on at the load balancer level" (ALB guide).
                Attribute("load_balancing.cross_zone.enabled", "balancer_cross_zone", True, _LB, choices=("true",)),
                Attribute("idle_timeout.timeout_seconds", "idle_seconds", 60, _LB, 1, 4000),
                Attribute("client_keep_alive.seconds", "client_keep_alive_seconds", 3600, _LB, 60, _WEEK),
                Attribute("routing.http2.enabled", "http2", True, _LB),
                Attribute("routing.http.drop_invalid_header_fields.enabled", "drop_invalid_headers", False, _LB),
                Attribute("routing.http.preserve_host_header.enabled", "preserve_host", False, _LB),
                Attribute("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "tls_headers", False, _LB),
                Attribute("routing.http.xff_client_port.enabled", "xff_client_port", False, _LB),
                Attribute(
                    "routing.http.xff_header_processing.mode",
                    "xff_mode",
                    APPEND,
                    _LB,
                    choices=(APPEND, PRESERVE, REMOVE),
                ),
                Attribute(
                    "routing.http.desync_mitigation_mode",
                    "desync_mode",
                    "defensive",
                    _LB,
                    choices=("monitor", "defensive", "strictest"),
                ),
                Attribute("access_logs.s3.enabled", "access_logs", False, _LOGS),
                Attribute(
                    "access_logs.s3.bucket",
                    "access_logs_bucket",
                    "",
                    "ALB guide, Access logs",
                    pattern=r"[a-z0-9.-]{0,63}",
                ),
                Attribute(
                    "access_logs.s3.prefix",
                    "access_logs_prefix",
                    "",
                    "ALB guide, Access logs",
                    pattern=r"[\w!.*'()/-]{0,255}",
                ),
            ),
            LISTENER: (
                *(
                    Attribute(f"routing.http.request.{key}.header_name", field, name, _LIS, pattern=_TOKEN)
                    for field, (key, name) in REQUEST_HEADERS.items()
                ),
                Attribute("routing.http.response.server.enabled", "server_header", True, _LIS),
                *(
                    Attribute(f"routing.http.response.{key}.header_value", field, "", _LIS, pattern=_HEADER_VALUE)
                    for field, (key, _) in RESPONSE_HEADERS.items()
                ),
            ),
            TARGET_GROUP: (
                DEREGISTRATION_DELAY,
                Attribute(
                    "load_balancing.cross_zone.enabled",
                    "group_cross_zone",
                    USE_BALANCER,
                    _TG,
                    choices=("true", "false", USE_BALANCER),
                ),
                Attribute(
                    "load_balancing.algorithm.type",
                    "algorithm",
                    ROUND_ROBIN,
                    _TG,
                    choices=(ROUND_ROBIN, LEAST_OUTSTANDING, WEIGHTED_RANDOM),
                ),
                Attribute("slow_start.duration_seconds", "slow_start_seconds", 0, _TG, 0, 900),
                Attribute("stickiness.enabled", "sticky", False, _TG),
                Attribute("stickiness.type", "stickiness_type", LB_COOKIE, _TG, choices=(LB_COOKIE, APP_COOKIE)),
                Attribute("stickiness.lb_cookie.duration_seconds", "lb_cookie_seconds", 86400, _TG, 1, _WEEK),
                Attribute("stickiness.app_cookie.cookie_name", "app_cookie_name", "", _TG, pattern=f"({_TOKEN})?"),
                Attribute("stickiness.app_cookie.duration_seconds", "app_cookie_seconds", 86400, _TG, 1, _WEEK),
                *minimum_health_rows(_HEALTH, MOST_TARGETS),
            ),
        }
    )

    deletion_protection: bool = False
    balancer_cross_zone: bool = True
    idle_seconds: int = 60
    client_keep_alive_seconds: int = 3600
    http2: bool = True
    drop_invalid_headers: bool = False
    preserve_host: bool = False
    tls_headers: bool = False
    xff_client_port: bool = False
    xff_mode: str = APPEND
    desync_mode: str = "defensive"
    access_logs: bool = False
    access_logs_bucket: str = ""
    access_logs_prefix: str = ""
    serial_number_header: str = REQUEST_HEADERS["serial_number_header"][1]
    issuer_header: str = REQUEST_HEADERS["issuer_header"][1]
    subject_header: str = REQUEST_HEADERS["subject_header"][1]
    validity_header: str = REQUEST_HEADERS["validity_header"][1]
    leaf_header: str = REQUEST_HEADERS["leaf_header"][1]
    clientcert_header: str = REQUEST_HEADERS["clientcert_header"][1]
    tls_version_header: str = REQUEST_HEADERS["tls_version_header"][1]
    cipher_suite_header: str = REQUEST_HEADERS["cipher_suite_header"][1]
    server_header: bool = True
    strict_transport_security: str = ""  # "" for no such header, here and below
    allow_origin: str = ""
    allow_methods: str = ""
    allow_headers: str = ""
    allow_credentials: str = ""
    expose_headers: str = ""
    max_age: str = ""
    content_security_policy: str = ""
    content_type_options: str = ""
    frame_options: str = ""
    deregistration_delay_seconds: int = 300
    group_cross_zone: str = USE_BALANCER
    algorithm: str = ROUND_ROBIN
    slow_start_seconds: int = 0  # 0 is off
    sticky: bool = False
    stickiness_type: str = LB_COOKIE
    lb_cookie_seconds: int = 86400
    app_cookie_name: str = ""
    app_cookie_seconds: int = 86400
    dns_minimum_count: int = 1  # 0 is off, here and below
    dns_minimum_percentage: int = 0
    routing_minimum_count: int = 1
    routing_minimum_percentage: int = 0

    def _check_together(self) -> None:
        """Source: ALB guide, Edit target group attributes, Sticky sessions; ELBv2 API, TargetGroupAttribute."""
        refusal = ""
        if self.app_cookie_name.startswith(_RESERVED_COOKIES):
            refusal = (
                f"stickiness.app_cookie.cookie_name: '{self.app_cookie_name}' is reserved, expected a name that does "
                f"not begin with {', '.join(_RESERVED_COOKIES)}"
            )
        elif self.sticky and self.stickiness_type == APP_COOKIE and not self.app_cookie_name:
            refusal = "stickiness.app_cookie.cookie_name: this key is missing: stickiness.type app_cookie needs it"
        elif 0 < self.slow_start_seconds < 30:
            refusal = f"slow_start.duration_seconds: '{self.slow_start_seconds}' is not valid, expected 0 or 30 to 900"
        elif self.slow_start_seconds and self.algorithm != ROUND_ROBIN:
            refusal = f"slow_start.duration_seconds: expected 0 with load_balancing.algorithm.type {self.algorithm}"
        elif self.sticky and self.algorithm == WEIGHTED_RANDOM:
            refusal = "stickiness.enabled: expected false with load_balancing.algorithm.type weighted_random"
        elif self.sticky and self.group_cross_zone == "false":
            refusal = "stickiness.enabled: expected false while load_balancing.cross_zone.enabled is false"
        if refusal:
            raise AwsError(refusal, "InvalidConfigurationRequest")
