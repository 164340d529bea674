package attack

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport/test/sut"
)

// This file is how a crew's requests go out: as clients and browsers send them, oddly, or in half.

// wire is a request of the JSON API.
type wire struct {
	method, path, token string
	fields              map[string]any
}

// style is how a request was sent.
type style string

const (
	usual  style = "usual"
	asPage style = "page"
	// odd requests mean the same to a lax server, or nothing to a strict one: what comes of them the model allows, or not.
	odd style = "odd"
	// half of a request is nothing: it must change nothing.
	half style = "half"
)

func (s style) usual() bool { return s == usual || s == asPage }

// play sends a request in some style; sent is false where no answer can be judged.
func (c *crew) play(w wire, form *pages) (a sut.Answer, how style, sent bool) {
	n := c.rand.IntN(100)
	switch {
	case n < 15 && form != nil:
		how = asPage
		a = c.h.submit(c.t, *form)
		sent = a.Status != 0
	case n < 35:
		how = odd
		a, sent = c.sendOdd(w)
	case n < 39:
		c.tally.note(string(half))
		c.sendHalf(w)
		return a, half, false
	default:
		how = usual
		a, sent = c.send(w)
	}
	c.tally.note(string(how))
	if a.Status >= http.StatusInternalServerError && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusNotImplemented {
		c.bad("%s (%s)", a, how)
	}
	if sent && a.Status == http.StatusServiceUnavailable {
		c.lost, sent = true, false
	}
	return a, how, sent
}

// send sends a request as clients do. Not ok means that what became of it is not known.
func (c *crew) send(w wire) (sut.Answer, bool) {
	var body any
	if w.fields != nil {
		body = w.fields
	}
	a := c.h.call(c.t, w.method, w.path, w.token, body)
	if a.Status == 0 || a.Status == http.StatusServiceUnavailable {
		c.lost = true
		return a, false
	}
	return a, true
}

// sendOdd sends a request with one thing about it that is not as it should be.
func (c *crew) sendOdd(w wire) (sut.Answer, bool) {
	raw, err := json.Marshal(w.fields)
	if err != nil || w.fields == nil {
		raw = nil
	}
	n, door := c.h.gate()
	path := w.path
	method := w.method
	header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + w.token}}
	var body io.Reader = bytes.NewReader(raw)
	last := path[strings.LastIndex(path, "/")+1:]
	switch c.rand.IntN(30) {
	case 0: // other methods; DELETE means something of its own elsewhere
		if method = pick(c, []string{"GET", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "POSTX", "get"}); method == "get" && w.method == "GET" {
			method = "HEAD"
		}
	case 1:
		method = http.MethodGet
		header.Set("X-Http-Method-Override", w.method)
	case 2:
		path += "/"
	case 3:
		path = strings.Replace(path, "/v1/", "//v1//", 1)
	case 4:
		path = strings.Replace(path, "/"+last, "/"+fmt.Sprintf("%%%02X", last[0])+last[1:], 1)
	case 5:
		path = strings.ToUpper(path)
	case 6:
		path = strings.Replace(path, "/v1/", "/v1/./x/../", 1)
	case 7:
		path += ";jsessionid=1"
	case 8:
		path += "?" + url.Values{"token": {w.token}, "code": {"000000"}, "status": {"complete"}}.Encode()
	case 9:
		path += "%00"
	case 10, 11, 12, 13:
		header.Set("Content-Type", pick(c, []string{"", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/json; charset=iso-8859-1", "application/cbor", "APPLICATION/JSON"}))
	case 14:
		values := url.Values{}
		for k, v := range w.fields {
			values.Set(k, fmt.Sprint(v))
		}
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		body = strings.NewReader(values.Encode())
	case 15:
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(raw) // to memory
		_ = z.Close()
		header.Set("Content-Encoding", "gzip")
		body = &packed
	case 16:
		header.Set("Content-Encoding", pick(c, []string{"gzip", "br", "deflate", "identity", "x"}))
	case 17: // chunked
		body = struct{ io.Reader }{bytes.NewReader(raw)}
	case 18, 19:
		if len(w.fields) == 0 {
			body = strings.NewReader(`{"code":"000000"}`)
			break
		}
		body = strings.NewReader(strings.Replace(string(raw), "{", pick(c, []string{`{"code":"000000",`, `{"extra":1,`, `{"recovery_code":"x",`, `{"factor":"sms",`, `{"user":"p1",`, `{"__proto__":{},`}), 1))
	case 20:
		body = strings.NewReader("\ufeff" + string(raw))
	case 21:
		body = strings.NewReader(string(raw) + pick(c, []string{"{}", "x", "\x00", "\n", " ", string(raw)}))
	case 22: // each letter in two bytes
		var wide bytes.Buffer
		for _, b := range raw {
			wide.Write([]byte{b, 0})
		}
		body = &wide
	case 23:
		fields := map[string]any{}
		for k, v := range w.fields {
			fields[k] = pick(c, []any{[]any{v}, map[string]any{k: v}, nil, true, json.Number("123456"), 1e5})
		}
		raw, _ = json.Marshal(fields) // of plain values
		body = bytes.NewReader(raw)
	case 24:
		header.Set("Authorization", pick(c, []string{"bearer " + w.token, "Bearer  " + w.token, "Token " + w.token, w.token, "Bearer " + w.token + ",x", "Basic " + base64.StdEncoding.EncodeToString([]byte(w.token+":"))}))
	case 25:
		header["Authorization"] = []string{"Bearer si_" + strings.Repeat("A", 26) + "_" + strings.Repeat("A", 26), "Bearer " + w.token}
	case 26: // a browser's cookies count on pages only
		header.Del("Authorization")
		header.Set("Cookie", "sallyport_sign_in="+w.token+"; sallyport_session="+w.token+"; sallyport_form="+formToken)
	case 27:
		header.Set("Expect", "100-continue")
	case 28:
		header.Set("X-Original-Url", "/v1/session")
		header.Set("X-Forwarded-Host", "evil.test")
		header.Set("X-User", "admin-demo")
	default:
		header.Set("Accept", pick(c, []string{"text/html", "application/cbor", "*/*;q=0", "application/xml"}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.h.bases[n], body)
	if err != nil {
		c.bad("%v", err)
		return sut.Answer{}, false
	}
	at, query, _ := strings.Cut(path, "?")
	req.URL.Opaque, req.URL.RawQuery = "//"+req.URL.Host+at, query
	if method == http.MethodGet || method == http.MethodHead || method == http.MethodTrace {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	req.Header = header
	a, err := door.Send(req)
	a.Path = w.path // for the verdict: how it was written is no matter
	if err != nil {
		c.tell("odd %s %s: %v", method, path, err)
		c.lost = true
		return a, false
	}
	c.tell("odd: %s %s %v", method, path, header)
	return a, true
}

// sendHalf begins a request and hangs up.
func (c *crew) sendHalf(w wire) {
	n, _ := c.h.gate()
	raw, _ := json.Marshal(w.fields) // of plain values
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.h.bases[n], "http://"))
	if err != nil {
		return
	}
	c.tell("half: %s %s", w.method, w.path)
	method := w.method
	if method == http.MethodGet {
		method = http.MethodPost
	}
	_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, w.path, w.token, len(raw)+1, raw)
	_ = conn.Close() // that is the point
}
