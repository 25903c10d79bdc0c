// @ts-check
/** Where the pages' own script begins: children first, so that the page finds them ready. */
import { ChatAppElement } from "djwsbridge/chat/elements/chat_app.js";
import { ChatComposerElement } from "djwsbridge/chat/elements/chat_composer.js";
import { ChatLobbyElement } from "djwsbridge/chat/elements/chat_lobby.js";
import { ChatOnlineElement } from "djwsbridge/chat/elements/chat_online.js";
import { ChatRoomsElement } from "djwsbridge/chat/elements/chat_rooms.js";
import { ChatSettingsElement } from "djwsbridge/chat/elements/chat_settings.js";
import { ChatStatusElement } from "djwsbridge/chat/elements/chat_status.js";
import { ChatTimelineElement } from "djwsbridge/chat/elements/chat_timeline.js";
import { ChatTypingElement } from "djwsbridge/chat/elements/chat_typing.js";

customElements.define("chat-composer", ChatComposerElement);
customElements.define("chat-lobby", ChatLobbyElement);
customElements.define("chat-online", ChatOnlineElement);
customElements.define("chat-rooms", ChatRoomsElement);
customElements.define("chat-settings", ChatSettingsElement);
customElements.define("chat-status", ChatStatusElement);
customElements.define("chat-timeline", ChatTimelineElement);
customElements.define("chat-typing", ChatTypingElement);
customElements.define("chat-app", ChatAppElement);
