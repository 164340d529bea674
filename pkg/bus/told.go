package bus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// CheckURL returns what is wrong with a list of addresses of NATS servers, or nil. It asks nobody, and repeats nothing of
// the list, which may hold a password. What has neither scheme nor port is refused: nats.go takes any word for the name of a server.
func CheckURL(urls string) error {
	var first string
	for raw := range strings.SplitSeq(urls, ",") {
		raw = strings.TrimSpace(raw)
		if host, port, err := net.SplitHostPort(raw); err == nil && host != "" && port != "" && !strings.Contains(raw, "/") {
			raw = "nats://" + raw // as the client reads it
		}
		u, err := url.Parse(raw)
		if err == nil && u.Port() != "" {
			_, err = net.LookupPort("tcp", u.Port())
		}
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("must be the URL of a NATS server, such as nats://127.0.0.1:4222 or tls://nats.example:4222, or several with commas between them")
		}
		if first == "" {
			first = u.Scheme
		}
		if strings.HasPrefix(u.Scheme, "ws") != strings.HasPrefix(first, "ws") {
			return errors.New("must reach all servers over WebSocket (ws, wss), or none")
		}
	}
	return nil
}

// CheckCreds returns what is wrong with a credentials file, or nil: it must hold a user's token, and a seed that signs.
func CheckCreds(file string) error {
	if _, err := os.ReadFile(file); err != nil { //nolint:gosec // the operator names the file
		return err
	}
	var o nats.Options
	err := nats.UserCredentials(file)(&o)
	if err == nil {
		_, err = o.SignatureCB([]byte("whose seed is it?"))
	}
	if err == nil {
		var token string
		if token, err = o.UserJWT(); strings.Count(token, ".") != 2 {
			err = errors.New("no token")
		}
	}
	if err != nil {
		return fmt.Errorf("%s holds no NATS credentials (a user's token and seed)", file)
	}
	return nil
}
