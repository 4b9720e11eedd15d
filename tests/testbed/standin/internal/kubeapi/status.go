package kubeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// StatusError is a refusal by the API server. Its text is the message of the
// server's Status object, or client-go's own wording where the answer is none
// (the `404 page not found` of a path whose CRD does not exist, for one).
type StatusError struct {
	// Code is the HTTP status.
	Code    int
	message string
}

func (e *StatusError) Error() string { return e.message }

// Code is the HTTP status of a refusal, or 0 when err is something else.
func Code(err error) int {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	return 0
}

func statusError(code int, body []byte, r Request) *StatusError {
	var status struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" && status.Message != "" {
		return &StatusError{Code: code, message: status.Message}
	}
	return &StatusError{Code: code, message: genericMessage(code, body, r)}
}

// genericMessage is client-go's NewGenericServerResponse for the codes that
// matter here.
func genericMessage(code int, body []byte, r Request) string {
	what := fmt.Sprintf("(%s %s %s)", strings.ToLower(r.Method), r.Resource, r.Name)
	switch code {
	case http.StatusUnauthorized:
		return "the server has asked for the client to provide credentials " + what
	case http.StatusForbidden:
		return strings.TrimSpace(string(body))
	case http.StatusNotFound:
		return "the server could not find the requested resource " + what
	case http.StatusTooManyRequests:
		return "the server has received too many requests and has asked us to try again later " + what
	case http.StatusServiceUnavailable:
		return "the server is currently unable to handle the request " + what
	default:
		return fmt.Sprintf("an error on the server (%q) has prevented the request from succeeding %s",
			strings.TrimSpace(string(body)), what)
	}
}
