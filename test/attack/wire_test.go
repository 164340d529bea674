package attack

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/bus/permit"
)

// intruder is a connection to NATS by hand, past every library that could be polite: it writes the protocol itself, and
// hears what the server says to each line.
type intruder struct {
	tb   testing.TB
	conn net.Conn
	in   *bufio.Reader
	sids int
	// heard are the messages that came, as subject, reply subject, headers and payload in one text.
	heard []string
}

// errShut says that the server lets nobody in with these credentials.
var errShut = errors.New("not let in")

// intrude connects with the given CONNECT options.
func intrude(tb testing.TB, addr string, options map[string]any) (*intruder, error) {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	i := &intruder{tb: tb, conn: conn, in: bufio.NewReader(conn)}
	if line := i.line(); !strings.HasPrefix(line, "INFO ") {
		tb.Fatalf("no NATS: %q", line)
	}
	all := map[string]any{"verbose": false, "pedantic": false, "headers": true, "protocol": 1, "lang": "hand", "version": "1"}
	for k, v := range options {
		all[k] = v
	}
	raw, err := json.Marshal(all)
	if err != nil {
		tb.Fatal(err)
	}
	i.write("CONNECT " + string(raw) + "\r\n")
	if refused, shut := i.settle(); shut {
		return nil, fmt.Errorf("%w: %s", errShut, refused)
	}
	return i, nil
}

// takeOver connects as a user whose password file was stolen.
func takeOver(tb testing.TB, addr, data string, u permit.User) *intruder {
	tb.Helper()
	password, err := permit.Password(filepath.Join(data, "keys"), u)
	if err != nil {
		tb.Fatal(err)
	}
	i, err := intrude(tb, addr, map[string]any{"user": string(u), "pass": password.Reveal()})
	if err != nil {
		tb.Fatalf("%s: %v", u, err)
	}
	return i
}

func (i *intruder) write(s string) {
	i.tb.Helper()
	if _, err := io.WriteString(i.conn, s); err != nil {
		i.tb.Fatal(err)
	}
}

// line is what the server says next; "" once it has hung up.
func (i *intruder) line() string {
	i.tb.Helper()
	_ = i.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := i.in.ReadString('\n')
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		i.tb.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}

// settle waits until the server has dealt with everything so far. It returns what the server refused, and whether it
// hung up.
func (i *intruder) settle() (refused string, shut bool) {
	i.tb.Helper()
	_, _ = io.WriteString(i.conn, "PING\r\n") // a closed connection tells below
	for {
		line := i.line()
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "PONG":
			return refused, false
		case "":
			return refused, true
		case "PING":
			i.write("PONG\r\n")
		case "-ERR":
			refused = rest
		case "MSG", "HMSG":
			fields := strings.Fields(rest)
			size, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				i.tb.Fatalf("%q", line)
			}
			payload := make([]byte, size+2)
			if _, err := io.ReadFull(i.in, payload); err != nil {
				i.tb.Fatal(err)
			}
			i.heard = append(i.heard, rest+"\n"+string(payload))
		}
	}
}

// publish sends a message and tells whether the server let it pass.
func (i *intruder) publish(subject, reply string, header map[string]string, payload string) bool {
	i.tb.Helper()
	var head strings.Builder
	head.WriteString("NATS/1.0\r\n")
	for k, v := range header {
		fmt.Fprintf(&head, "%s: %s\r\n", k, v)
	}
	head.WriteString("\r\n")
	i.write(fmt.Sprintf("HPUB %s %s %d %d\r\n%s%s\r\n", subject, reply, head.Len(), head.Len()+len(payload), head.String(), payload))
	refused, shut := i.settle()
	if shut {
		i.tb.Fatalf("the server hung up after a message to %s: %s", subject, refused)
	}
	return !strings.Contains(refused, "Permissions Violation")
}

// listen subscribes and tells whether the server lets it.
func (i *intruder) listen(subject, queue string) bool {
	i.tb.Helper()
	i.sids++
	i.write(strings.Join(slices.DeleteFunc([]string{"SUB", subject, queue, strconv.Itoa(i.sids)}, func(s string) bool { return s == "" }), " ") + "\r\n")
	refused, shut := i.settle()
	if shut {
		i.tb.Fatalf("the server hung up after a subscription to %s: %s", subject, refused)
	}
	return !strings.Contains(refused, "Permissions Violation")
}

// ask sends a request and returns the payload of its answer.
func (i *intruder) ask(me permit.User, subject, payload string) string {
	i.tb.Helper()
	return i.askWith(me, subject, nil, payload)
}

// askWith is ask with headers.
func (i *intruder) askWith(me permit.User, subject string, header map[string]string, payload string) string {
	i.tb.Helper()
	inbox := permit.Inbox(me) + ".by-hand." + strconv.Itoa(i.sids)
	if !i.listen(inbox, "") || !i.publish(subject, inbox, header, payload) {
		i.tb.Fatalf("%s may not ask %s", me, subject)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); i.settle() {
		for _, m := range i.heard {
			if head, body, _ := strings.Cut(m, "\n"); strings.HasPrefix(head, inbox+" ") {
				return body
			}
		}
	}
	i.tb.Fatalf("%s does not answer", subject)
	return ""
}
