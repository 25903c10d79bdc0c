"""Two views of the project: one pushes, one shows what the Store way has stored."""

import json

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from djwsbridge.utils import send_ws_message
from people.models import Message


@login_required
@require_POST
def push(request: HttpRequest) -> HttpResponse:
    """Push to a user what the body says."""
    asked = json.loads(request.body)
    send_ws_message(asked["user"], asked["data"], durable=asked["durable"])
    return HttpResponse(status=204)


@login_required
def letters(request: HttpRequest) -> JsonResponse:
    """Return the private messages of the user's chats, and how many chats there are."""
    found = Message.objects.filter(chat__participants=request.user.pk).order_by("pk")
    chats = {letter.chat_id for letter in found}
    return JsonResponse({"letters": [letter.content for letter in found], "chats": len(chats)})
