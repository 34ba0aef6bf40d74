//! The broker over RabbitMQ, with publisher confirms.
