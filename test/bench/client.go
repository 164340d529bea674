package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// client speaks the JSON API with as little work of its own as possible: it shares the machine with the server.
type client struct {
	pid  int // of the server
	host fasthttp.HostClient
}

func newClient(addr string, pid int) *client {
	return &client{pid, fasthttp.HostClient{Addr: addr, MaxConns: 64, ReadTimeout: 20 * time.Second, NoDefaultUserAgentHeader: true}}
}

// do sends a request and hands the answer to read, if its status is the wanted one.
func (c *client) do(method, path, token string, body []byte, want int, read func(*fasthttp.Response) error) error {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.Header.SetMethod(method)
	req.SetRequestURI(path)
	req.Header.SetHost(c.host.Addr)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		req.Header.SetContentType("application/json")
		req.SetBodyRaw(body)
	}
	if err := c.host.Do(req, res); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode() == fasthttp.StatusServiceUnavailable {
		return fmt.Errorf("%s %s: %w: %s", method, path, errUnavailable, res.Body())
	}
	if res.StatusCode() != want {
		return fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode(), res.Body())
	}
	return read(res)
}

// begun is a sign-in that waits for its code.
type begun struct {
	user  user
	id    string
	token string
}

// begin signs a person in with their password.
func (c *client) begin(u user) (begun, error) {
	b := begun{user: u}
	err := c.do("POST", "/v1/sign-ins", "", []byte(`{"email":"`+u.email()+`","password":"`+password+`"}`), 201, func(r *fasthttp.Response) error {
		var s struct{ ID, Token, Status string }
		if err := json.Unmarshal(r.Body(), &s); err != nil {
			return err
		}
		if s.Status != "challenge" {
			return fmt.Errorf("%s is asked to %q", u.id(), s.Status)
		}
		b.id, b.token = s.ID, s.Token
		return nil
	})
	return b, err
}

// verify types a code and returns the token of the session that it opens.
func (c *client) verify(b begun, code string) (token string, err error) {
	err = c.do("POST", "/v1/sign-ins/"+b.id+"/verify", b.token, []byte(`{"code":"`+code+`"}`), 200, func(r *fasthttp.Response) error {
		_, rest, ok := bytes.Cut(r.Body(), []byte(`"session":{"token":"`))
		end := bytes.IndexByte(rest, '"')
		if !ok || end < 0 {
			return fmt.Errorf("no session in %s", r.Body())
		}
		token = string(rest[:end])
		return nil
	})
	return token, err
}

// session asks who is signed in.
func (c *client) session(token string) error {
	return c.do("GET", "/v1/session", token, nil, 200, func(*fasthttp.Response) error { return nil })
}

// page is an answer that another server can give as well, byte for byte.
type page struct {
	Headers [][2]string `json:"headers"`
	Body    string      `json:"body"`
}

// sessionPage is the answer of session.
func (c *client) sessionPage(token string) (page, error) {
	var p page
	err := c.do("GET", "/v1/session", token, nil, 200, func(r *fasthttp.Response) error {
		for name, value := range r.Header.All() {
			switch string(name) {
			case "Content-Length", "Date", "Server", "Connection":
				continue // the server's own
			}
			p.Headers = append(p.Headers, [2]string{string(name), string(value)})
		}
		p.Body = string(r.Body())
		return nil
	})
	return p, err
}
