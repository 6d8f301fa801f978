"""Student models, one kind a file, behind the protocol of `student.models.protocol`."""
