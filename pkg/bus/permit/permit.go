// Package permit answers: what may each user of NATS say and hear?
//
// Nothing here is a list that somebody keeps: the subjects follow from what package contract says about calls, events,
// streams and buckets. The embedded server, the configuration for a NATS of one's own and the bus itself take them from
// here, so that a new message is allowed where it is used and nowhere else. docs/decisions/nats-users.md has the reasons.
package permit

import (
	"slices"
	"strings"
	"time"

	"sallyport/pkg/contract"
)

// User is who connects to NATS: a service under its own name, or one of the two below.
type User string

// Users beside the services.
const (
	// Operator looks at the bus (doctor) and works on dead letters.
	Operator User = "operator"
	// Keeper makes streams, buckets and consumers, and does nothing else. Whoever may do that can have the server carry
	// any message anywhere, so no service may.
	Keeper User = "keeper"
)

// Users lists all of them.
func Users() []User {
	return []User{
		User(contract.AuthGateway), User(contract.TOTP), User(contract.SMSDispatcher), User(contract.Policy), Operator, Keeper,
	}
}

// Permissions are allow lists: what is on none is refused.
type Permissions struct {
	Publish []string
	// Subscribe holds subjects, some with a queue after a space: there only a member of that queue may listen.
	Subscribe []string
	// Answers is true for whoever answers calls: a reply to each message that it was given, one, within AnswerWithin,
	// and no other message into anybody's inbox.
	Answers bool
}

// AnswerWithin is how long after a call was delivered the server lets its answer pass: beyond any caller's patience.
const AnswerWithin = 10 * time.Second

// Consumer is a durable consumer: the place of one service, all its replicas together, in a stream.
type Consumer struct {
	Service contract.Service
	Stream  contract.Stream
	Subject string
	Name    string
}

// Consumers lists every consumer that the services have.
func Consumers() []Consumer {
	var out []Consumer
	for _, m := range contract.Messages() {
		if m.Stream == "" {
			continue
		}
		for _, s := range m.To {
			out = append(out, Consumer{s, m.Stream, m.Subject, Durable(s, m.Subject)})
		}
	}
	return out
}

// Durable names the consumer that the replicas of a service share for a subject.
func Durable(s contract.Service, subject string) string {
	return string(s) + "-" + strings.ReplaceAll(strings.TrimPrefix(subject, "sallyport."), ".", "-")
}

// Inboxes is what the inbox of every user begins with.
const Inboxes = "_INBOX_"

// Inbox is the prefix of the subjects on which a user gets replies: each has its own, and hears no other's.
func Inbox(u User) string { return Inboxes + string(u) }

// BucketStream is the stream behind a bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// api are the subjects of JetStream's own calls.
const api = "$JS.API."

// Of returns what a user may do; a user that is none of [Users] may do nothing.
func Of(u User) Permissions {
	var p Permissions
	switch u {
	case Operator:
		p = operator()
	case Keeper:
		p = keeper()
	default:
		if !slices.Contains(Users(), u) {
			return p
		}
		p = service(contract.Service(u))
	}
	p.publish(api + "INFO")
	p.Subscribe = append(p.Subscribe, Inbox(u)+".>")
	slices.Sort(p.Publish)
	p.Publish = slices.Compact(p.Publish)
	slices.Sort(p.Subscribe)
	return p
}

func (p *Permissions) publish(subjects ...string) { p.Publish = append(p.Publish, subjects...) }

// service may ask and answer its calls, publish and consume its events, and use its buckets.
func service(s contract.Service) Permissions {
	var p Permissions
	for _, m := range contract.Messages() {
		from, to := slices.Contains(m.From, s), slices.Contains(m.To, s)
		if from {
			p.publish(m.Subject)
		}
		if m.Stream == "" && to {
			p.Subscribe, p.Answers = append(p.Subscribe, m.Subject+" "+string(s)), true
		}
		if m.Stream != "" && (from || to) {
			p.publish(api + "STREAM.INFO." + string(m.Stream))
		}
	}
	for _, c := range Consumers() {
		if c.Service != s {
			continue
		}
		at := string(c.Stream) + "." + c.Name
		p.publish(
			api+"CONSUMER.INFO."+at, api+"CONSUMER.MSG.NEXT."+at, "$JS.ACK."+at+".>",
			contract.DeadSubject(s), api+"STREAM.INFO."+string(contract.StreamDead),
		)
	}
	for _, b := range contract.Buckets() {
		if b.Owner != s {
			continue
		}
		stream, keys := BucketStream(b.Name), "$KV."+b.Name+".>"
		p.publish(keys, api+"STREAM.INFO."+stream, api+"STREAM.MSG.GET."+stream)
		if b.Watched {
			// A watch is a consumer for as long as its connection lasts.
			p.publish(api+"CONSUMER.CREATE."+stream+".*."+keys, api+"CONSUMER.DELETE."+stream+".*", "$JS.FC."+stream+".>")
		}
	}
	return p
}

// operator may look at everything that is kept, read and delete dead letters, and publish their events again.
func operator() Permissions {
	var p Permissions
	for _, name := range kept() {
		p.publish(api + "STREAM.INFO." + name)
	}
	dead := string(contract.StreamDead)
	p.publish(api+"STREAM.MSG.GET."+dead, api+"STREAM.MSG.DELETE."+dead)
	for _, m := range contract.Messages() {
		if m.Stream != "" {
			p.publish(m.Subject)
		}
	}
	return p
}

// keeper may make and change what [contract] lists, by name.
func keeper() Permissions {
	var p Permissions
	for _, name := range kept() {
		p.publish(api+"STREAM.INFO."+name, api+"STREAM.CREATE."+name, api+"STREAM.UPDATE."+name)
	}
	for _, c := range Consumers() {
		p.publish(api + "CONSUMER.CREATE." + string(c.Stream) + "." + c.Name + "." + c.Subject)
	}
	return p
}

// kept are the names of all streams, those behind buckets included.
func kept() []string {
	var out []string
	for _, s := range contract.Streams() {
		out = append(out, string(s.Name))
	}
	for _, b := range contract.Buckets() {
		out = append(out, BucketStream(b.Name))
	}
	return out
}

// MayLook tells whether a user may ask about a stream: it publishes to it, consumes from it, or keeps it.
func MayLook(u User, stream string) bool {
	return slices.Contains(Of(u).Publish, api+"STREAM.INFO."+stream)
}
