"""The addresses of the base; what pushes leaves that to a worker."""

import json

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST
from jobs import queue
from mysite import urls


@login_required
@require_POST
def push(request: HttpRequest) -> HttpResponse:
    """Leave a job for a worker."""
    queue.put(json.loads(request.body))
    return HttpResponse(status=204)


urlpatterns = [path("push/", push), *urls.urlpatterns]
