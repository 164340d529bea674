package gateway

import (
	"bytes"

	"github.com/gofiber/fiber/v2"
)

// oneRequest tells whether everybody who reads a request finds the same one in it. Where it says twice how long it is,
// for which host it is, or says so in a spelling that some servers take and others do not, a proxy before us may have
// read another request than we do, and what it let through is not what we would answer (RFC 9112, 3.2, 5.1, 5.2 and
// 6.1 have such requests refused; the server's own parser lets them pass).
func oneRequest(c *fiber.Ctx) bool {
	h := &c.Request().Header
	hosts, lengths, codings := 0, 0, 0
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte{'\n'})
		if line = bytes.TrimSuffix(line, []byte{'\r'}); len(line) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		if line[0] == ' ' || line[0] == '\t' || bytes.HasSuffix(name, []byte{' '}) || bytes.HasSuffix(name, []byte{'\t'}) {
			return false
		}
		switch len(name) {
		case len("Host"):
			if bytes.EqualFold(name, []byte("Host")) {
				hosts++
			}
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				lengths++
			}
		case len("Transfer-Encoding"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				if codings++; !bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked")) {
					return false
				}
			}
		}
	}
	return (hosts == 1 || hosts == 0 && !h.IsHTTP11()) && lengths+codings <= 1
}
