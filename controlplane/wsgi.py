"""What granian serves on the unix socket behind the gateway."""

from __future__ import annotations

import os
import signal

from django.core.wsgi import get_wsgi_application

from controlplane.lifetime import end_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
# This is granian's worker. Without its main process nobody would end it, or start it again.
end_with_parent(signal.SIGKILL)
application = get_wsgi_application()
