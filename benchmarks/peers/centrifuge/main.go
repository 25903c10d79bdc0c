// A server on the Centrifuge library: users known by a JWT, a channel for each room and each user, JSON protocol.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

type claims struct {
	User    json.RawMessage `json:"user_id"`
	Expires int64           `json:"exp"`
}

type place struct {
	Room string `json:"room"`
}

type direct struct {
	To   string          `json:"to"`
	Data json.RawMessage `json:"data"`
}

// verify returns the user of a token that is signed with HS256; "" when it is no good.
func verify(token string, secret []byte) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var found claims
	if json.Unmarshal(payload, &found) != nil || found.Expires < time.Now().Unix() {
		return ""
	}
	return strings.Trim(string(found.User), `"`)
}

func main() {
	secret := []byte(os.Getenv("BENCH_SECRET"))
	node, err := centrifuge.New(centrifuge.DefaultConfig)
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		user := verify(e.Token, secret)
		var where place
		if user == "" || json.Unmarshal(e.Data, &where) != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{
			Credentials: &centrifuge.Credentials{UserID: user},
			Subscriptions: map[string]centrifuge.SubscribeOptions{
				"room." + where.Room: {},
				"user." + user:       {},
			},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnPublish(func(e centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			if !client.IsSubscribed(e.Channel) {
				answer(centrifuge.PublishReply{}, centrifuge.ErrorPermissionDenied)
				return
			}
			answer(centrifuge.PublishReply{}, nil)
		})
		client.OnRPC(func(e centrifuge.RPCEvent, answer centrifuge.RPCCallback) {
			var message direct
			if json.Unmarshal(e.Data, &message) != nil {
				answer(centrifuge.RPCReply{}, centrifuge.ErrorBadRequest)
				return
			}
			_, err := node.Publish("user."+message.To, message.Data)
			answer(centrifuge.RPCReply{Data: []byte("{}")}, err)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		UseWriteBufferPool: true,
	}))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
