<?php
// What an application sees of a request, through PHP's own variables.
$told = fn ($name) => $_SERVER[$name] ?? '';
echo json_encode([
    'method' => $told('REQUEST_METHOD'), 'script' => $told('SCRIPT_NAME'), 'path' => $told('PATH_INFO') ?: $told('REQUEST_URI'),
    'query' => $told('QUERY_STRING'), 'type' => $told('CONTENT_TYPE') ?: $told('HTTP_CONTENT_TYPE'),
    'length' => $told('CONTENT_LENGTH') ?: $told('HTTP_CONTENT_LENGTH'), 'key' => $told('HTTP_X_API_KEY'), 'who' => $told('HTTP_X_AUTH_USER') . $told('REMOTE_USER'),
    'scheme' => $told('HTTPS') ? 'https' : 'http', 'host' => $told('HTTP_HOST'), 'client' => $told('REMOTE_ADDR'),
]);
