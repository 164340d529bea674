package store_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// front stands before a store and can keep its answers back.
type front struct {
	uri string
	mu  sync.Mutex
	// open is closed while answers pass.
	open chan struct{}
}

func silent(t *testing.T, uri string) *front {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{open: make(chan struct{})}
	close(f.open)
	back := u.Host
	u.Host = l.Addr().String()
	f.uri = u.String()
	var conns []net.Conn
	var mu sync.Mutex
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	t.Cleanup(func() {
		f.speak()
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", back)
			if err != nil {
				_ = in.Close()
				continue
			}
			keep(in)
			keep(out)
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() {
				defer in.Close() //nolint:errcheck // the other side has ended
				buf := make([]byte, 32<<10)
				for {
					n, err := out.Read(buf)
					if err != nil {
						return
					}
					f.mu.Lock()
					open := f.open
					f.mu.Unlock()
					<-open
					if _, err := in.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return f
}

func (f *front) mute() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = make(chan struct{})
}

func (f *front) speak() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.open:
	default:
		close(f.open)
	}
}
