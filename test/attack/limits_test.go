package attack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// speak sends bytes over a connection of its own, and returns what came back until the server closed it or, after as many
// answers as may come, was silent.
func speak(t *testing.T, p *sut.Product, raw string, most int) (answers []int, rest string, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.Base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.WriteString(conn, raw) }() // it may hang up before it has read everything
	in := bufio.NewReader(conn)
	for {
		patience := 30 * time.Second
		if most > 0 && len(answers) >= most {
			patience = 1500 * time.Millisecond
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			var silent net.Error
			return answers, rest, !errors.As(err, &silent) || !silent.Timeout()
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read to its end
		if answers, rest = append(answers, resp.StatusCode), string(body); err != nil {
			return answers, rest, true
		}
	}
}

// TestRule17NoRequestHidesInAnother sends requests in which a proxy and we might see different ones, each with a second
// request in what one of them would take for the body. It is never answered: the first is refused, and the connection is
// closed.
func TestRule17NoRequestHidesInAnother(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	const (
		hidden = "GET /v1/account HTTP/1.1\r\nHost: x\r\n\r\n"
		body   = `{"email":"a@b.test","password":"x"}`
	)
	post := func(headers, more string) string {
		return "POST /v1/sign-ins HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers + "\r\n" + more
	}
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	const end, chunked = "0\r\n\r\n", "Transfer-Encoding: chunked\r\n"
	for name, raw := range map[string]string{
		"length and chunks":            post("Content-Length: 5\r\n"+chunked, end+hidden),
		"chunks and length":            post(chunked+"Content-Length: 5\r\n", end+hidden),
		"two lengths":                  post(length+"Content-Length: 0\r\n", body+hidden),
		"two equal lengths":            post(length+length, body+hidden),
		"a list of lengths":            post("Content-Length: 0, 5\r\n", hidden),
		"a length with a sign":         post(fmt.Sprintf("Content-Length: +%d\r\n", len(body)), body+hidden),
		"a length below zero":          post("Content-Length: -1\r\n", hidden),
		"a hexadecimal length":         post("Content-Length: 0x23\r\n", body+hidden),
		"an endless length":            post("Content-Length: 99999999999999999999\r\n", hidden),
		"chunks twice":                 post(chunked+chunked, end+hidden),
		"chunks and none":              post(chunked+"Transfer-Encoding: identity\r\n", end+hidden),
		"none":                         post("Transfer-Encoding: identity\r\n", end+hidden),
		"an unknown coding":            post("Transfer-Encoding: xchunked\r\n", end+hidden),
		"two codings":                  post("Transfer-Encoding: gzip, chunked\r\n", end+hidden),
		"a tab before chunked":         post("Transfer-Encoding:\x0bchunked\r\n", end+hidden),
		"quotes around chunked":        post("Transfer-Encoding: \"chunked\"\r\n", end+hidden),
		"a space before the colon":     post("Transfer-Encoding : chunked\r\nContent-Length: 0\r\n", end+hidden),
		"a tab before the colon":       post("Content-Length\t: 0\r\n", hidden),
		"a folded line":                post("X-A: b\r\n Transfer-Encoding: chunked\r\n", end+hidden),
		"a folded length":              post("Content-Length:\r\n 0\r\n", hidden),
		"a line break alone":           post("X-A: b\rTransfer-Encoding: chunked\r\n", end+hidden),
		"a zero byte":                  post("X-A: b\x00\r\n", hidden),
		"a chunk's size with a space":  post(chunked, " 23\r\n"+body+"\r\n"+end+hidden),
		"a chunk's extension with LF":  post(chunked, "23;a\nb\r\n"+body+"\r\n"+end+hidden),
		"a chunk longer than its size": post(chunked, fmt.Sprintf("%x\r\n%sXX", len(body), body)+end+hidden),
		"a negative chunk":             post(chunked, "-1\r\n"+body+"\r\n"+end+hidden),
		"two hosts":                    "GET /v1/session HTTP/1.1\r\nHost: x\r\nHost: evil.test\r\n\r\n" + hidden,
		"no host":                      "GET /v1/session HTTP/1.1\r\n\r\n" + hidden,
		"a host of two words":          "GET /v1/session HTTP/1.1\r\nHost: x evil.test\r\n\r\n" + hidden,
		"HTTP/0.9":                     "GET /account\r\n\r\n" + hidden,
		"chunks in HTTP/1.0":           strings.Replace(post(chunked, "5\r\nabcde\r\n"), "1.1", "1.0", 1) + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, closed := speak(t, p, raw, 0)
			if len(got) != 1 || got[0] != http.StatusBadRequest || !closed {
				t.Errorf("answers %v, closed: %t; want one 400 and the end", got, closed)
			}
		})
	}
	// The same two requests, as everybody reads them, are answered both.
	for name, raw := range map[string]string{
		"length": post(length, body+hidden), "chunks": post(chunked, fmt.Sprintf("%x\r\n%s\r\n", len(body), body)+end+hidden),
		"a body that nobody asked for": "GET /v1/session HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + body + hidden,
	} {
		if got, _, closed := speak(t, p, raw, 2); !slices.Equal(got, []int{401, 401}) || closed {
			t.Errorf("%s: answers %v, closed: %t; want 401 and 401", name, got, closed)
		}
	}
	// HEAD is answered without a body, on every page: what comes after it is the next answer.
	_, session := p.EnrolTOTP(ada)
	for _, r := range routeTable(t) {
		if r.Method != http.MethodHead {
			continue
		}
		raw := "HEAD " + at(r, "") + " HTTP/1.1\r\nHost: x\r\nCookie: sallyport_session=" + session + "\r\n\r\n"
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, raw+strings.Replace(hidden, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		_ = conn.Close() // read to its end
		if _, after, _ := bytes.Cut(all, []byte("\r\n\r\n")); err != nil || !bytes.HasPrefix(after, []byte("HTTP/1.1 401")) {
			t.Errorf("HEAD %s is followed by %.40q (%v)", at(r, ""), after, err)
		}
	}
}

// TestRule17BodiesThatDoNotFit sends each route of the JSON API that takes a body one that is too large, too deep, of
// another kind, or means two things, with all the rights there are. None is taken, and none is a fault of ours.
func TestRule17BodiesThatDoNotFit(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	key, session := p.EnrolTOTP(ada)
	half := p.BeginSignIn(ada)
	p.StepUp(session, key)
	deep := strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000)
	long := `"` + strings.Repeat("é", 7<<10) + `"`
	takes := 0
	for _, r := range routeTable(t) {
		good, ok := valid[r.Method+" "+r.Path]
		if !ok {
			if strings.HasPrefix(r.Path, "/v1/") && slices.Contains([]string{"POST", "PUT", "PATCH"}, r.Method) && !slices.Contains(bodiless, r.Method+" "+r.Path) {
				t.Errorf("%s %s takes a body of which this test knows nothing", r.Method, r.Path)
			}
			continue
		}
		takes++
		token, path := session, strings.NewReplacer(":id", "nobody", ":factor", "totp").Replace(r.Path)
		if r.Guard == gSignIn {
			token, path = half.Token, at(r, half.ID)
		}
		inner := strings.TrimSuffix(good, "}")
		first := regexp.MustCompile(`"(\w+)":`).FindStringSubmatch(good)[1]
		for name, body := range map[string]string{
			"an unknown name":           inner + `,"is_admin":true}`,
			"__proto__":                 inner + `,"__proto__":{"master_admin":true}}`,
			"a name twice":              inner + `,"` + first + `":"x"}`,
			"a name twice, escaped":     inner + fmt.Sprintf(`,"\u%04x%s":"x"}`, first[0], first[1:]),
			"a name in capitals":        strings.Replace(good, first, strings.ToUpper(first), 1),
			"a name with a long s":      strings.Replace(good, first, "ſ"+first, 1),
			"deep":                      deep,
			"deep within":               strings.Replace(good, `{`, `{"x":`+strings.Repeat("[", 6000)+strings.Repeat("]", 6000)+`,`, 1),
			"an array":                  "[" + good + "]",
			"two documents":             good + good,
			"cut off":                   inner,
			"a comment":                 good + "//",
			"a byte order mark":         "\ufeff" + good,
			"UTF-16":                    "\xff\xfe{\x00}\x00",
			"not UTF-8":                 inner + ",\"\xff\":1}",
			"null":                      "null",
			"a long string":             `{"` + first + `":` + long + `}`,
			"a long name":               `{` + long + `:1}`,
			"a number for every string": regexp.MustCompile(`"[^"]*"(,|})`).ReplaceAllString(good, "1e999$1"),
			"nothing":                   "",
			"17 KiB":                    inner + strings.Repeat(" ", 17<<10) + "}",
			"1 MB":                      strings.Repeat("a", 1<<20),
		} {
			a, err := p.Try(t.Context(), r.Method, path, token, sut.Raw{Type: "application/json", Body: body})
			if err != nil && len(body) > 16<<10 {
				continue // it hung up while we talked on
			}
			if err != nil || a.Status < 400 || a.Status >= 500 || a.Problem().Code != "invalid_request" {
				t.Errorf("%s %s with %s: %s (%v); want invalid_request", r.Method, r.Path, name, a, err)
			}
		}
		for _, kind := range []string{"text/plain", formType, "multipart/form-data; boundary=x", "application/xml", "text/json", "nonsense"} {
			if a := p.Do(r.Method, path, token, sut.Raw{Type: kind, Body: good}); a.Status != http.StatusUnsupportedMediaType && a.Status != http.StatusBadRequest {
				t.Errorf("%s %s as %s: status %d; want 415", r.Method, r.Path, kind, a.Status)
			}
		}
		// The positive control: in one piece it is understood.
		if a := p.Do(r.Method, path, token, sut.Raw{Type: "application/json", Body: good}); a.Problem().Code == "invalid_request" && a.Problem().Detail == "The request is not valid." {
			t.Errorf("what should be taken: %s", a)
		}
	}
	if takes < 15 {
		t.Errorf("only %d routes were tried", takes)
	}
	if a := newGuest(t, p).get("/account?" + strings.Repeat("a=b&", 2000)); a.Status >= 500 {
		t.Errorf("a long address: status %d", a.Status)
	}
	if got, _, _ := speak(t, p, "GET /v1/session HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", 20<<10)+"\r\n\r\n", 1); len(got) > 0 && got[0] != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("20 KiB of headers: %v", got)
	}
}

// valid are bodies that each route takes; the people in it are nobody.
var valid = map[string]string{
	"POST /v1/sign-ins":                            `{"email":"nobody@demo.test","password":"x"}`,
	"POST /v1/password-links":                      `{"token":"none","password":"x"}`,
	"POST /v1/sign-ins/:id/enrollment":             `{"factor":"totp"}`,
	"POST /v1/sign-ins/:id/enrollment/confirm":     `{"code":"no code"}`,
	"POST /v1/sign-ins/:id/verify":                 `{"code":"no code"}`,
	"POST /v1/sign-ins/:id/recover":                `{"recovery_code":"none"}`,
	"POST /v1/session/step-up":                     `{"password":"x","code":"no code"}`,
	"POST /v1/account/factors/totp/confirm":        `{"code":"no code"}`,
	"PATCH /v1/account/factors/:factor":            `{"label":"Pixel"}`,
	"PUT /v1/admin/settings":                       `{"version":99,"internal":{"mode":"off"},"organizations":{"mode":"off","allow_opt_out":false}}`,
	"POST /v1/admin/settings/preview":              `{"version":1,"internal":{"mode":"off"},"organizations":{"mode":"off","allow_opt_out":false}}`,
	"POST /v1/admin/users":                         `{"email":"admin@demo.test","name":"Taken","audience":"internal"}`,
	"PATCH /v1/admin/users/:id":                    `{"name":"Nobody"}`,
	"POST /v1/admin/users/:id/reset-second-factor": `{"reason":"x"}`,
	"POST /v1/admin/users/:id/unlock":              `{"reason":"x"}`,
	"PUT /v1/admin/branding":                       `{"name":"Northwind Portal","accent":"#1f5fd0","support_email":"","support_url":"","help_text":"","request_account_url":"","reset_login_url":""}`,
}

// bodiless are the unsafe routes of the API that take none.
var bodiless = []string{
	"POST /v1/sign-ins/:id/enrollment/skip", "POST /v1/sign-ins/:id/resend", "POST /v1/sign-ins/:id/redeem", "POST /v1/session/step-up/send", "POST /v1/account/factors/totp",
	"POST /v1/account/factors/sms/enable", "POST /v1/account/recovery-codes", "POST /v1/admin/users/:id/password-link",
}

// TestRule17NobodySeesAnothersValues: what the server reuses its memory for never shows in somebody else's answer.
func TestRule17NobodySeesAnothersValues(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off"})})
	var people sync.WaitGroup
	for i := range 16 {
		people.Go(func() {
			g := newGuest(t, p)
			own := fmt.Sprintf("person-%02d-%s@demo.test", i, strings.Repeat(strconv.Itoa(i%10), i))
			back := fmt.Sprintf("/account?person=%02d", i)
			for range 10 {
				body := string(g.post("/sign-in", "email", own, "password", "wrong", "return", back).Body)
				for _, other := range regexp.MustCompile(`person[-=](\d\d)`).FindAllStringSubmatch(body, -1) {
					if other[1] != fmt.Sprintf("%02d", i) {
						t.Errorf("%s is shown %s", own, other[0])
					}
				}
				if !strings.Contains(body, own) || !strings.Contains(body, back) {
					t.Errorf("%s is not shown their own", own)
				}
			}
			// Beside them, somebody goes all the way, and comes out where they wanted to.
			if i%4 == 0 {
				if to := g.post("/sign-in", "email", elif, "password", sut.DemoPassword, "return", back).Header.Get("Location"); to != back {
					t.Errorf("%s comes out at %q", own, to)
				}
			}
		})
	}
	people.Wait()
}
