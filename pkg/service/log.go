package service

import (
	"fmt"
	"io"
	"log/slog"
)

// NewLog returns a JSON logger in which a secret stays one even inside a struct: values of any type are printed by
// fmt, which honours sallyport/pkg/secret, and never by an encoder that looks inside.
func NewLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Equal(slog.Attr{}) {
			return a // nothing to say, such as the trace of what is not traced
		}
		if a.Value.Kind() == slog.KindAny {
			return slog.String(a.Key, fmt.Sprintf("%+v", a.Value.Any()))
		}
		return a
	}}))
}
