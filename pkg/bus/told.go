package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// CheckURL returns what is wrong with a list of addresses of NATS servers, or nil. It asks nobody, and repeats nothing of
// the list, which may hold a password. What has neither scheme nor port is refused: nats.go takes any word for the name of a server.
func CheckURL(urls string) error {
	var first string
	for raw := range strings.SplitSeq(urls, ",") {
		if raw = strings.TrimSpace(raw); raw == "" {
			continue // as the client does
		}
		host, port, err := net.SplitHostPort(raw)
		if !strings.Contains(raw, "://") && (strings.Contains(raw, "@") || err == nil && host != "" && port != "") {
			raw = "nats://" + raw // the same
		}
		u, err := url.Parse(raw)
		if err == nil && u.Port() != "" {
			_, err = net.LookupPort("tcp", u.Port())
		}
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errNoURL
		}
		if first == "" {
			first = u.Scheme
		}
		if strings.HasPrefix(u.Scheme, "ws") != strings.HasPrefix(first, "ws") {
			return errors.New("must reach all servers over WebSocket (ws, wss), or none")
		}
	}
	if first == "" {
		return errNoURL
	}
	return nil
}

var errNoURL = errors.New("must be the URL of a NATS server, such as nats://127.0.0.1:4222 or tls://nats.example:4222, or several with commas between them")

// CheckCreds returns what is wrong with a credentials file, or nil: it must hold a user's token, and a seed that signs.
func CheckCreds(file string) error {
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
	if missing := new(fs.PathError); errors.As(err, &missing) {
		return missing
	}
	if err != nil {
		return fmt.Errorf("%s holds no NATS credentials (a user's token and seed)", file)
	}
	return nil
}
