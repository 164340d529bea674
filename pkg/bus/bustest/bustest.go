// Package bustest answers: how does a test take something away from the bus that nobody may?
package bustest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// DeleteStream deletes a stream with all that is in it and every consumer, and returns how many messages were lost with
// it. It does what somebody could who has taken sms-dispatcher over: that user may not delete a stream, but it may fetch
// events, the answer to an empty fetch is empty, and the server does not look where an answer is to go
// (docs/decisions/nats-users.md).
func DeleteStream(tb testing.TB, url string, password secret.String, name contract.Stream) (lost uint64) {
	tb.Helper()
	const me = permit.User(contract.SMSDispatcher)
	nc, err := nats.Connect(url, nats.UserInfo(string(me), password.Reveal()), nats.CustomInboxPrefix(permit.Inbox(me)), nats.Timeout(5*time.Second))
	if err != nil {
		tb.Fatal(err)
	}
	defer nc.Close()
	look := func() (messages uint64, created string) {
		m, err := nc.Request("$JS.API.STREAM.INFO."+string(name), nil, 10*time.Second)
		if err != nil {
			tb.Fatalf("stream %s: %v", name, err)
		}
		var info struct {
			Created string
			State   struct{ Messages uint64 }
		}
		if err := json.Unmarshal(m.Data, &info); err != nil {
			tb.Fatalf("stream %s: %v", name, err)
		}
		return info.State.Messages, info.Created
	}
	lost, was := look()
	fetch := nats.NewMsg("$JS.API.CONSUMER.MSG.NEXT." + string(contract.StreamFacts) + "." + permit.Durable(contract.SMSDispatcher, contract.EnrolmentReset.Subject))
	fetch.Reply, fetch.Data = "$JS.API.STREAM.DELETE."+string(name), []byte(`{"batch":1,"no_wait":true}`)
	if err := nc.PublishMsg(fetch); err != nil {
		tb.Fatalf("delete stream %s: %v", name, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, created := look(); created != was { // gone, or made again already
			return lost
		}
		if time.Now().After(deadline) {
			tb.Fatalf("stream %s was not deleted", name)
		}
	}
}
