"""The control protocol: bytes in, messages out, and back. Nothing here waits or opens anything.

MessagePack-RPC, one message in one SOCK_SEQPACKET datagram of at most `MAX_MESSAGE` bytes:

    request       [0, id, verb, params]      descriptors ride on the same datagram
    response      [1, id, error, result]     error: nil, or [code, one line]
    notification  [2, verb, params]

``params`` is an array in the order of `VERBS`. Paths and everything else that comes from a user's
file system or command line is ``bin``. Where params or a result do not fit, an unsigned integer
stands there instead: their length in bytes in a sealed memfd, the message's last descriptor.
"""

from __future__ import annotations

from .errors import CODES as CODES
from .errors import PeerError as PeerError
from .errors import UsageError as UsageError
from .messages import MAX_BULK as MAX_BULK
from .messages import MAX_MESSAGE as MAX_MESSAGE
from .messages import Bulk as Bulk
from .messages import Message as Message
from .messages import Notification as Notification
from .messages import Request as Request
from .messages import Response as Response
from .messages import decode as decode
from .messages import encode as encode
from .messages import fill as fill
from .verbs import FROM_CLIENT as FROM_CLIENT
from .verbs import GUARDED as GUARDED
from .verbs import PROTOCOL as PROTOCOL
from .verbs import VERBS as VERBS
from .verbs import Kind as Kind
from .verbs import Verb as Verb
from .verbs import Who as Who
